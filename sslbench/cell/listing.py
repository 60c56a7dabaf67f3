"""The cells below an output folder, by what is known of them without training or opening data."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbench.cell.folder import STATES, UNREADABLE, CellFolder, cells_folder
from sslbench.cell.record import DONE, RECORD, SETTINGS, Record, flatten
from sslbench.cell.versions import is_of_other_code
from sslbench.files.checksums import read_sealed

KINDS = {
    "weights": ("*.pt",),
    "embeddings": ("embeddings-*.npz", "snapshot-*.npz"),
    "tracking": ("wandb/**/*", "tensorboard/**/*"),
}
"""Files that take room, by what they hold; all others are `other`."""


@dataclass(frozen=True)
class Listed:
    """One cell on disk; `settings` are by dotted keys, empty where they cannot be read."""

    folder: Path
    state: str
    settings: dict[str, Any]
    record: Record | None
    touched: float
    """When its record, or else its settings, was last written; seconds since 1970."""
    room: dict[str, int]
    """Bytes on disk by kind."""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def bytes(self) -> int:
        return sum(self.room.values())

    @property
    def is_of_other_code(self) -> bool:
        return self.record is not None and is_of_other_code(self.record)

    def accuracy(self, split: str) -> float | None:
        """Return a finished cell's accuracy."""
        if self.record is None or self.record.status != DONE:
            return None
        return self.record.results.get(split, {}).get("accuracy")


@dataclass(frozen=True)
class Filters:
    """What all chosen cells have; none: all cells."""

    settings: list[str] = field(default_factory=list)
    """`method=semi`, `optimizer.lr=0.001`, …: as they are typed to train."""
    ids: list[str] | None = None
    state: str | None = None
    older_than: float | None = None
    """Seconds."""
    other_code: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.settings or self.ids or self.state or self.older_than or self.other_code)

    def take(self, cell: Listed) -> bool:
        """Whether a cell has all of it."""
        wanted = (setting.partition("=") for setting in self.settings)
        return (
            (self.ids is None or cell.id in self.ids)
            and (self.state is None or cell.state == self.state)
            and (self.older_than is None or time.time() - cell.touched > self.older_than)
            and (not self.other_code or cell.is_of_other_code)
            and all(_written(cell.settings.get(key)) == value for key, _, value in wanted)
        )


def list_cells(outputs: Path, filters: Filters) -> list[Listed]:
    """Return the cells below `outputs` that filters take, by id.

    Raises:
        ValueError: If there is no such state or id, or no cell has a setting that is filtered by:
            it may be misspelt.
    """
    if filters.state not in (None, *STATES):
        raise ValueError(f"--state {filters.state}: must be one of {', '.join(STATES)}")
    cells = [_look(path) for path in sorted(cells_folder(outputs).glob("*/"))]
    unknown = set(filters.ids or ()) - {cell.id for cell in cells}
    if unknown:
        raise ValueError(
            f"{min(unknown)}: there is no such cell below {outputs}; `python -m sslbench.cells ls` "
            "lists them"
        )
    known = {key for cell in cells for key in cell.settings}
    for setting in filters.settings if known else []:
        if (key := setting.partition("=")[0]) not in known:
            raise ValueError(f"{setting}: no cell below {outputs} has a setting {key}")
    return [cell for cell in cells if filters.take(cell)]


def _look(path: Path) -> Listed:
    folder = CellFolder(path.parent.parent, path.name)
    try:
        record = folder.record()
        settings = record.settings if record else read_sealed(path / SETTINGS)["settings"]
        state, flat = folder.state(), flatten(settings)
    except (OSError, ValueError, KeyError, TypeError):
        record, state, flat = None, UNREADABLE, {}
    newest = path / RECORD if (path / RECORD).exists() else path / SETTINGS
    touched = (newest if newest.exists() else path).stat().st_mtime
    return Listed(path, state, flat, record, touched, _room(path))


def _room(folder: Path) -> dict[str, int]:
    found = {
        kind: sum(map(_bytes, {path for pattern in patterns for path in folder.glob(pattern)}))
        for kind, patterns in KINDS.items()
    }
    return found | {"other": sum(map(_bytes, folder.rglob("*"))) - sum(found.values())}


def _bytes(path: Path) -> int:
    return 0 if path.is_symlink() or not path.is_file() else path.stat().st_blocks * 512


def _written(value: Any) -> str:
    """Write a setting as it is typed: `null`, `true`, `[1,2]`, `0.001`."""
    from json import dumps

    return value if isinstance(value, str) else dumps(value, separators=(",", ":"))
