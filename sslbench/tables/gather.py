"""All cells below an output folder, whatever state they are in, as their records describe them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scipy import special

from sslbench import paper
from sslbench.cell.folder import CellFolder, cells_folder
from sslbench.cell.record import DONE, RECORD, SETTINGS, Record
from sslbench.cell.soundness import flaws_of, is_stale
from sslbench.files.checksums import read_sealed
from sslbench.paper import Metric

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading raises where files are not as this version writes them."""

CHANCE = 0.01
"""An accuracy that guessing reaches this often is one of chance."""


@dataclass(frozen=True)
class Cell:
    """One cell on disk; its status may be its folder's, such as `running`."""

    cell_id: str
    folder: Path
    status: str
    record: Record
    method: str
    model: str
    ratio: str | None
    """None if the method uses no unlabelled images, so that it does not matter."""
    seed: int
    start: str | None
    """The cell or file whose weights it started from."""
    data: str
    """What the data set is called: `stl10`, `digits`, or as its user calls it."""
    code: str
    """Digest of the code that trained it, if the record has it."""

    @property
    def class_names(self) -> list[str]:
        """Names of a finished cell's classes; none where its record has no list of them."""
        names = self.record.data.get("class_names")
        return [str(name) for name in names] if isinstance(names, list) else []

    @property
    def title(self) -> str:
        """Return what it is in words, as in `ConvNet semi-supervised 1:5, seed 0`."""
        words = [paper.title(self.model), paper.title(self.method), self.ratio or ""]
        words += ["from other weights" if self.start else ""]
        return f"{' '.join(filter(None, words))}, seed {self.seed}"

    @cached_property
    def collapse(self) -> str | None:
        """Say how a finished cell is no better on test images than chance; None if it is."""
        if self.status != DONE:
            return None
        test, said = self.record.results["test"], self.record.results.get("collapse")
        share, number = f"{test['accuracy']:.1%}".replace("%", " %"), self.num_images("test")
        confusion = test.get("confusion") or []
        if confusion and sum(any(column) for column in zip(*confusion, strict=True)) == 1:
            return f"{share}, one class"
        if said:
            return f"{share}, {said}"
        sizes = [sum(row) for row in confusion] or [number / max(1, len(self.class_names))]
        is_chance = special.bdtrc(round(test["accuracy"] * number) - 1, number, max(sizes) / number)
        return f"{share}, chance" if is_chance > CHANCE else None

    def value(self, metric: Metric) -> float | None:
        """Return a metric of a finished cell."""
        return self.record.results.get(metric.split, {}).get(metric.name)

    def num_images(self, split: str) -> int:
        """Return how many images a finished cell's accuracy on a split is a share of."""
        if split != "train":
            return self.record.data[f"num_{split}"]
        num_labeled = self.record.data["num_labeled"]
        # The last steps may see fewer images than there are, or some again.
        return min(self.record.results["train"].get("num_images", num_labeled), num_labeled)


def gather_all(folders: Sequence[Path]) -> tuple[list[Cell], list[str]]:
    """Read every cell below several output folders, such as copies of several machines'.

    Of a cell that is in more than one, a finished one counts, else the first. Finished ones with
    different results are named.
    """
    found: dict[str, Cell] = {}
    problems: list[str] = []
    for outputs in folders:
        cells, flaws = gather(outputs)
        problems += flaws
        for cell in cells:
            first = found.setdefault(cell.cell_id, cell)
            if DONE not in (first.status, cell.status) or first is cell:
                continue
            if first.status != DONE:
                found[cell.cell_id] = cell
            elif cell.status == DONE and cell.record.results != first.record.results:
                problems.append(
                    f"{cell.folder}: other results than {first.folder}, which are reported; one of "
                    "both is not what its settings lead to, or they are of different processors "
                    "or versions"
                )
    return list(found.values()), problems


def gather(outputs: Path) -> tuple[list[Cell], list[str]]:
    """Read every cell below `<outputs>/cells`; name those that are not as they should be."""
    cells, problems = [], []
    for path in sorted(cells_folder(outputs).glob("*/")):
        try:
            cell = _read(CellFolder(outputs, path.name))
            cells.append(cell)
            problems += _unsound(outputs, cell) if cell is not None else []
        except DAMAGE as error:
            what = f"damaged or of another version of sslbench ({type(error).__name__}: {error})"
            named = str(path) in str(error)
            problems.append(str(error) if named else f"{path}: {what}; the cell is left out")
    return [cell for cell in cells if cell is not None], problems


def _read(folder: CellFolder) -> Cell | None:
    """Return a cell, or None if nothing is in its folder."""
    record = folder.record()
    status = DONE if record is not None and record.status == DONE else folder.state()
    if record is None:
        if not (folder.path / SETTINGS).exists():
            return None
        known = read_sealed(folder.path / SETTINGS)
        record = Record(folder.cell_id, status, **known)
    settings = record.settings
    cell = Cell(
        *(folder.cell_id, folder.path, status, record),
        method=settings["method"]["name"],
        model=settings["model"]["name"],
        ratio=settings["ratio"]["name"] if "unlabeled" in record.streams else None,
        seed=settings["seed"],
        start=settings["init"]["from"],
        data=(record.data if status == DONE else settings["data"])["name"],
        code=record.runtime.get("versions", {}).get("code") or "",
    )
    _require_sound(cell)
    return cell


def _unsound(outputs: Path, cell: Cell) -> list[str]:
    """Say what is wrong with a finished cell's files; its results are in its record."""
    if cell.status != DONE:
        return []
    found = flaws_of(cell.folder, cell.record)
    if is_stale(outputs, cell.record):
        found.append(f"{cell.folder}: {cell.start}, which it started from, was trained anew since")
    start = cells_folder(outputs) / (cell.start or "")
    if cell.start is not None and start.is_dir() and not (start / RECORD).exists():
        found.append(f"{cell.folder}: the record of {cell.start}, which it started from, is gone")
    return found


def notes_of(cells: list[Cell]) -> list[str]:
    """Return what readers of finished cells' results must know."""
    return [f"{cell.cell_id}: {note}" for cell in cells for note in cell.record.notes]


def _require_sound(cell: Cell) -> None:
    """Raise an error unless all that tables need of a cell is of its type and in its range."""
    groups = ("model", "method", "ratio", "augmentation", "optimizer", "data")
    settings = cell.record.settings
    texts = [settings[group]["name"] for group in groups]
    texts += [settings["data"]["root"], cell.data, cell.start or "", cell.code]
    lists = [cell.record.streams or None]
    kinds = {str: texts, int: [cell.seed], dict: [cell.record.changes], list: lists}
    if cell.status == DONE:
        results, splits = cell.record.results, ("train", "val", "test")
        sizes = [cell.num_images(split) for split in splits]
        shares = [results[split]["accuracy"] for split in splits]
        shares += results.get("knn", {}).values()
        if not (all(0 <= share <= 1 for share in shares) and min(sizes) > 0):
            raise ValueError(f"accuracies {shares}, of {sizes} images")
        kinds[int] += sizes
    wrong = [each for kind, found in kinds.items() for each in found if not isinstance(each, kind)]
    if wrong:
        raise TypeError(f"{wrong} are of wrong types")
