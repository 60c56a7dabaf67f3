"""What a sweep does when it is asked to stop."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from sslbench.cell.folder import RUNNING, CellFolder
from sslbench.exit_codes import CellStopped
from sslbench.machine.processes import ONE_STOP_SECONDS
from sslbench.sweep.plan import Plan

SAVING_SECONDS, SAVING_POLL_SECONDS = 60.0, 0.1


class Stop:
    """A handler that stops a sweep when the running cells have saved; a second signal does at once.

    joblib, when it is interrupted, kills its workers with all that they started.
    """

    def __init__(self, plan: Plan, in_workers: bool) -> None:
        self._plan = plan
        self._in_workers = in_workers
        self._came_at: float | None = None
        self._has_running = self._is_waiting = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        if self._came_at is None:
            self._came_at = time.monotonic()
            if self._in_workers and self._has_running:
                self._tell_workers()
                self._wait_for_running()
        elif time.monotonic() - self._came_at < ONE_STOP_SECONDS or not self._is_waiting:
            return  # it leaves already
        self._is_waiting = False
        raise CellStopped(128 + signal_number)

    def _tell_workers(self) -> None:
        for worker in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)

    def _wait_for_running(self) -> None:
        """Wait until the cells that run now have saved; they finish their step first."""
        self._is_waiting = True
        running = [job.cell.folder for job in self._plan.to_do()]
        deadline = time.monotonic() + SAVING_SECONDS
        while time.monotonic() < deadline and (running := [*filter(_runs_here, running)]):
            time.sleep(SAVING_POLL_SECONDS)

    @contextmanager
    def of_running(self) -> Iterator[None]:
        """Say that cells run meanwhile; a worker that is told to stop does not stop the sweep."""
        self._has_running = True
        try:
            yield
        except CellStopped:
            if self._came_at is not None or not self._in_workers:
                raise
        finally:
            self._has_running = False


def _runs_here(folder: CellFolder) -> bool:
    """Whether a process of this sweep has a cell, rather than one of another sweep."""
    holder = folder.holder() if folder.state() == RUNNING else 0
    try:
        return holder > 0 and os.getpgid(holder) == os.getpgrp()
    except ProcessLookupError:  # it has left meanwhile
        return False
