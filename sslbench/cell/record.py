"""One JSON file per cell: what the report reads. A failure is a record too."""

import dataclasses
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbench.files.checksums import Unsealed, file_sha256, read_sealed, write_sealed

RECORD, SETTINGS = "record.json", "settings.json"
CELL_FILES = ("best.pt", "last.pt", "metrics.jsonl", "embeddings-*.npz", "snapshot-*.npz", SETTINGS)
"""What a finished cell's record vouches for."""
PREVIEW = "images.png"
"""A picture of what the cell saw."""
DONE, FAILED, INTERRUPTED, BLOCKED = "done", "failed", "interrupted", "blocked"
STATUSES = (DONE, FAILED, INTERRUPTED, BLOCKED)
DATA_TITLES = {"stl10": "STL-10", "digits": "digits, the built-in stand-in"}
Changes = dict[str, Any]
"""Overrides by key: how a cell differs from what the choices of its groups give."""


@dataclass
class Record:
    """Everything about one cell. `results` is a function of the settings; `runtime` is not."""

    cell: str
    status: str
    settings: dict[str, Any]
    changes: Changes = field(default_factory=dict)
    """The overrides that lead to the cell from its model, method, ratio, data and seed."""
    streams: list[str] = field(default_factory=list)
    """Images that its method learns from, `labeled` or `unlabeled`; epochs count the first."""
    config_dirs: list[str] = field(default_factory=list)
    """Folders of `--config-dir`, whose choices it was asked for with."""
    data: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    failures: int = 0
    """How often the cell has failed so far."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a finished cell's files, by name."""
    notes: list[str] = field(default_factory=list)
    """What its reader must know: how it went on after a stop, what is odd about its results."""

    def save(self, folder: Path) -> None:
        write_sealed(folder / RECORD, dataclasses.asdict(self))


def load_record(folder: Path) -> Record | None:
    """Return a cell's record, or None if it has none.

    Raises:
        ValueError: If the file is not a record.
    """
    path = folder / RECORD
    try:
        record = Record(**read_sealed(path))
        _require_types(record)
        _require_consistent(record)
    except FileNotFoundError:
        return None
    except Unsealed as error:
        raise ValueError(f"{path}: {error}; move its folder away, and ask for it anew") from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a record ({error}); resume=evaluate makes it anew from the cell's weights"
        ) from error
    if record.cell != Path(os.path.abspath(folder)).name:  # noqa: PTH100  a link has its own name
        raise ValueError(
            f"{path}: the record of another cell, {record.cell}, in a folder that was renamed or "
            "copied; give it that name again, or delete it"
        )
    return record


def require_weights(folder: Path, record: Record) -> Path:
    """Return the file of a finished cell's weights.

    Raises:
        ValueError: If it is gone, or not as it was written.
    """
    path = folder / record.results["weights"]
    if path.name not in record.files:
        raise ValueError(
            f"{path}: removed to free room; `python -m sslbench.cells rm --cell {record.cell}` and "
            "the command that trained the cell make it anew"
        )
    found = "gone" if not path.is_file() else None
    if found is None and file_sha256(path) != record.files[path.name]:
        found = "damaged, or of another cell"
    if found is not None:
        raise ValueError(
            f"{path}: {found}, so it is not loaded; the command that trained the cell, with "
            "resume=restart, trains it anew"
        )
    return path


def _require_types(record: Record) -> None:
    if record.status not in STATUSES:
        raise ValueError(f"status is {record.status!r}, not one of {', '.join(STATUSES)}")
    for name in ("settings", "changes", "data", "results", "runtime", "error", "files"):
        value = getattr(record, name)
        if not isinstance(value, dict) and (name, value) != ("error", None):
            raise ValueError(f"{name} is {value!r}, not an object")
    for name in ("notes", "config_dirs"):
        texts = getattr(record, name)
        if not isinstance(texts, list) or not all(isinstance(it, str) for it in texts):
            raise ValueError(f"{name} are {texts!r}, not a list of texts")


def _require_consistent(record: Record) -> None:
    """Compare accuracies with the confusion matrices that they are of."""
    for split in ("train_plain", "val", "test"):
        result = record.results.get(split, {})
        if record.status != DONE or "confusion" not in result:
            continue
        confusion = result["confusion"]
        right = sum(row[label] for label, row in enumerate(confusion))
        number = sum(map(sum, confusion))
        expected = record.data.get(f"num_{split}", number)
        if number != expected or not math.isclose(result["accuracy"] * number, right, abs_tol=1e-3):
            raise ValueError(
                f"accuracy {result['accuracy']} on {split} with {right} of {number} images right "
                f"in the confusion matrix, of {expected}"
            )


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted keys; that of a group, such as `optimizer`, is its name."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    flat = {prefix: settings["name"]} if "name" in settings else {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else key)
    return flat
