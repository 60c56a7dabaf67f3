"""All cells below an output folder, whatever state they are in, as their records describe them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.cell.curves import CURVES
from sslbench.cell.folder import PLANNED, RUNNING, CellFolder, cells_folder
from sslbench.cell.record import DONE, INTERRUPTED, SETTINGS, Record
from sslbench.tables.paper import Metric

Changes = dict[str, Any]
"""Overrides by key: how a cell's settings differ from what the choices of its groups give."""


@dataclass(frozen=True)
class Cell:
    """One cell on disk.

    `status` is the record's, or `running`; without a record `interrupted`, or `planned` if it has
    not begun. `settings`, `changes` and `streams` are as in the record (see `Record`).
    """

    cell_id: str
    folder: Path
    status: str
    settings: dict[str, Any]
    changes: Changes
    streams: list[str]
    record: Record | None

    @property
    def method(self) -> str:
        return self.settings["method"]["name"]

    @property
    def model(self) -> str:
        return self.settings["model"]["name"]

    @property
    def ratio(self) -> str | None:
        """None if the method uses no unlabelled images, so that it does not matter."""
        return self.settings["ratio"]["name"] if "unlabeled" in self.streams else None

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @property
    def start(self) -> str | None:
        """The cell or file whose weights it started from."""
        return self.settings["init"]["from"]

    @property
    def data(self) -> str:
        """What the data set is called: `stl10`, `digits`, or a layout's folder."""
        if self.status == DONE:
            return str(self.done_record.data["name"])
        data = self.settings["data"]
        if data["name"] != "layout":
            return data["name"]
        name = Path(data["root"]).resolve().name
        return f"layout-{name}" if name in ("stl10", "digits") else name  # as its record will say

    @property
    def done_record(self) -> Record:
        assert self.record is not None, f"{self.cell_id} has no record"
        return self.record

    @property
    def class_names(self) -> list[str]:
        """Names of a finished cell's classes; none where its record has no list of them."""
        names = self.done_record.data.get("class_names")
        return [str(name) for name in names] if isinstance(names, list) else []

    def value(self, metric: Metric) -> float | None:
        """Return a metric of a finished cell."""
        return self.done_record.results.get(metric.split, {}).get(metric.name)

    def num_images(self, split: str) -> int:
        """Return how many images a finished cell's accuracy on a split is a share of."""
        record = self.done_record
        if split != "train":
            return record.data[f"num_{split}"]
        num_labeled = record.data["num_labeled"]
        # The last steps may see fewer images than there are, or some again.
        return min(record.results["train"].get("num_images", num_labeled), num_labeled)


def gather(outputs: Path) -> tuple[list[Cell], list[str]]:
    """Read every cell below `<outputs>/cells`; name those that are not as they should be."""
    cells, problems = [], []
    for path in sorted(cells_folder(outputs).glob("*/")):
        try:
            cell = _read(CellFolder(outputs, path.name))
            if cell is not None:
                _require_place(cell)
                cells.append(cell)
        except (ValueError, OSError) as error:
            problems.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(
                f"{path}: settings or results are not as this version writes them "
                f"({type(error).__name__}: {error}); the cell is left out"
            )
    return cells, problems


def _read(folder: CellFolder) -> Cell | None:
    path, record = folder.path, folder.record()
    status = INTERRUPTED if record is None else record.status
    if status != DONE and (path / ".lock").exists() and folder.state() == RUNNING:
        status = RUNNING
    if record is not None:
        parts = record.settings, record.changes, record.streams
        return Cell(folder.cell_id, path, status, *parts, record)
    try:
        contents = json.loads((path / SETTINGS).read_text())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # of JSON and UTF-8
        raise ValueError(f"{path / SETTINGS}: not a cell's settings ({error})") from error
    if not isinstance(contents, dict) or contents.keys() != {"settings", "changes", "streams"}:
        raise ValueError(f"{path / SETTINGS}: of another version of sslbench; the cell is left out")
    if status == INTERRUPTED and not (path / CURVES).exists():
        status = PLANNED
    return Cell(folder.cell_id, path, status, **contents, record=None)


def _require_place(cell: Cell) -> None:
    """Raise an error unless a cell has all that its place in the tables depends on."""
    groups = ("model", "method", "ratio", "augmentation", "optimizer", "data")
    names = [cell.settings[group]["name"] for group in groups]
    for kind, values in (
        (str, (*names, cell.settings["data"]["root"], cell.start or "")),
        (int, (cell.seed,)),
        (dict, (cell.changes,)),
        (list, (cell.streams,)),
    ):
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"{value!r} is no {kind.__name__}")
    if cell.status == DONE:
        results = cell.done_record.results
        for split in ("train", "val", "test"):
            _require_results(results[split], cell.num_images(split))
        for accuracy in results.get("knn", {}).values():
            _require_results({"accuracy": accuracy}, 1)


def _require_results(metrics: dict[str, Any], num_images: Any) -> None:
    accuracy, loss = metrics["accuracy"], metrics.get("loss") or 0
    if not (0 <= accuracy <= 1 and math.isfinite(loss)):
        raise TypeError(f"accuracy {accuracy}, loss {loss}")
    if not (isinstance(num_images, int) and num_images > 0):
        raise TypeError(f"{num_images!r} images")
