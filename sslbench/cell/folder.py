"""The folder of a cell: where its files are, who works in it, and how far it is."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sslbench.cell.curves import CURVES
from sslbench.cell.record import INTERRUPTED, SETTINGS, Record, load_record
from sslbench.files.checksums import read_sealed

RUNNING, PLANNED, MISSING, UNREADABLE = "running", "planned", "missing", "unreadable"
PATIENCE_SECONDS = 1.0
"""For whoever only looks at a cell, and holds it for milliseconds."""


def cells_folder(outputs: str | Path) -> Path:
    """Return where the cells' folders lie."""
    return Path(outputs) / "cells"


class Busy(Exception):
    """Another process trains this cell."""


class CellFolder:
    """`<outputs>/cells/<id>`."""

    def __init__(self, outputs: str | Path, cell_id: str) -> None:
        self.cell_id = cell_id
        self.path = cells_folder(outputs) / cell_id

    @property
    def log_path(self) -> Path:
        return self.path / "train.log"

    def record(self) -> Record | None:
        """Return the record, None if there is none; ValueError if it cannot be read."""
        return load_record(self.path)

    def readable_record(self) -> Record | None:
        """Return the record, None also where it cannot be read: who is to mend it says so."""
        with suppress(ValueError):
            return self.record()

    def begun_threads(self) -> int | None:
        """Return the threads that the cell was begun with, which it goes on with; None if not."""
        if not any(self.path.glob("*last.pt")):
            return None
        try:
            return read_sealed(self.path / SETTINGS)["settings"]["threads"]
        except (OSError, ValueError, KeyError, TypeError):  # not yet, or whoever loads it says so
            return None

    @contextmanager
    def locked(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the cell, so that two sweeps train it once.

        The lock is the kernel's: it goes with the process that holds it, however that ends.

        Raises:
            Busy: If another process keeps it and `wait` is not set.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=-1 if wait else PATIENCE_SECONDS)
        except Timeout:
            raise Busy(self.cell_id) from None
        try:
            (self.path / ".lock").write_text(f"{os.getpid()}\n")
            yield
        finally:
            lock.release()

    def holder(self) -> int:
        """Return the number of the process that holds the cell, or did last; 0 if none has."""
        try:
            return int((self.path / ".lock").read_text())
        except (FileNotFoundError, ValueError):  # it is about to write it
            return 0

    def state(self) -> str:
        """Return the record's status, or what there is instead of a record.

        `running` while it is held; `planned` before its first step, `interrupted` after it;
        `missing`, or `unreadable`.
        """
        if self.is_held():
            return RUNNING
        try:
            return self.state_by(self.record())
        except ValueError:
            return UNREADABLE

    def state_by(self, record: Record | None) -> str:
        """Return the state of a cell that nobody holds by its record."""
        if record is not None:
            return record.status
        if (self.path / CURVES).exists():
            return INTERRUPTED
        return PLANNED if (self.path / SETTINGS).exists() else MISSING

    def is_held(self) -> bool:
        """Whether a process trains the cell, this one among them."""
        try:
            with (self.path / ".lock").open() as file:
                # Shared, so that two who look at once are not taken for one who trains.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
