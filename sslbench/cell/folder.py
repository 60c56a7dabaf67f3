"""The folder of a cell: where its files are, who works in it, and how far it is."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sslbench.cell.curves import CURVES
from sslbench.cell.record import DONE, INTERRUPTED, RECORD, SETTINGS, STATUSES, Record, load_record
from sslbench.files.checksums import read_sealed
from sslbench.files.lock import Held, Lock, is_held, read_claim
from sslbench.files.small import read_small

RUNNING, WAITING, PLANNED, MISSING = "running", "waiting", "planned", "missing"
UNREADABLE = "unreadable"
STATES = (*STATUSES, RUNNING, WAITING, PLANNED, UNREADABLE)
LOCK, QUEUED = ".lock", ".queued"


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
        self._given_ns = 0

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
    def locked(self, *, outlast: bool = False) -> Iterator[None]:
        """Hold the cell, so that two sweeps train it once, on one machine or on several.

        Args:
            outlast: Wait until a holder on another machine shows that it lives, or is found gone.

        Raises:
            Busy: If another process keeps it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.path / LOCK)
        try:
            lock.acquire(outlast=outlast)
        except Held as held:
            raise Busy(f"{self.cell_id}: {held}") from None
        try:
            yield
        finally:
            lock.release()

    def holder(self) -> int:
        """Return the number of this machine's process that holds the cell; 0 if none does."""
        claim = read_claim(self.path / LOCK)
        return claim.pid if claim is not None and claim.is_from_here and not claim.is_dead else 0

    def state(self) -> str:
        """Return the record's status, or what there is instead of a record.

        `running` while it is held; `waiting` in an engine's queue; `planned` before its first step,
        `interrupted` after it; `missing`, or `unreadable`.
        """
        if self.is_held():
            return RUNNING
        try:
            return self.state_by(self.record())
        except ValueError:
            return UNREADABLE

    def state_by(self, record: Record | None) -> str:
        """Return the state of a cell that nobody holds by its record."""
        if self._waits(record):
            return WAITING
        if record is not None:
            return record.status
        if (self.path / CURVES).exists():
            return INTERRUPTED
        return PLANNED if (self.path / SETTINGS).exists() else MISSING

    def is_held(self) -> bool:
        """Whether a process trains the cell, this one among them, here or on another machine."""
        return is_held(self.path / LOCK)

    def note_ticket(self, engine: str, ticket: str | None = None) -> None:
        """Note that an engine is given the cell, then by which of its jobs it has it."""
        path = self.path / QUEUED
        path.write_text(json.dumps({"engine": engine, "job": ticket}) + "\n")
        if ticket is None:
            self._given_ns = path.stat().st_mtime_ns
        else:  # it may have ended meanwhile
            os.utime(path, ns=(self._given_ns, self._given_ns))

    def drop_ticket(self) -> None:
        """Forget that an engine had it."""
        (self.path / QUEUED).unlink(missing_ok=True)

    def ticket(self, engine: str) -> str | None:
        """Return the job by which an engine has the cell, or had it; None if none had."""
        with suppress(OSError, ValueError, AttributeError):
            note = json.loads(read_small(self.path / QUEUED))
            return note["job"] if note.get("engine") == engine else None

    def _waits(self, record: Record | None) -> bool:
        """Whether an engine was given the cell since its record, if not to the end of its work."""
        try:
            given = (self.path / QUEUED).stat().st_mtime
            if record is None or record.status == INTERRUPTED:
                return True
            return record.status != DONE and given > (self.path / RECORD).stat().st_mtime
        except FileNotFoundError:
            return False
