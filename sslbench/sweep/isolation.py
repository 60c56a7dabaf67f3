"""Each cell of a sweep in a process of its own, so that its end is never the sweep's."""

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from sslbench.exit_codes import CellStopped
from sslbench.machine.processes import (
    ONE_STOP_SECONDS,
    STOPS,
    exit_with_parent,
    handled,
    masked,
    stops_blocked,
)

# Imported once by the server that the cells' processes are forked from. The first ends it with this
# process. The next two are what each cell would import before all else, for the main module of the
# process that started it; that module itself would be warned of. torch imports its compiler with
# the first optimizer, in a second or two.
PRELOADED = [
    "sslbench.sweep.server",
    "sslbench.config.compose",
    "sslbench.sweep.job",
    "sslbench.run",
    "sslbench.cell.card",
    "torch._dynamo",
    "torchvision.models",
    "sslbench.sweep.preloaded",
]
LOST_EXIT_CODE = 255
"""What Python says of a process whose server has died: nobody knows how it ends, or has ended."""


def run_isolated(function: Callable[..., None], *arguments: object) -> int | None:
    """Call a function in a fresh process and return its exit code; minus n where signal n ended it.

    None if the server that it was forked from has died; the process may be there still. Signals
    that ask to stop are passed on as SIGTERM, and the process is waited for. If this process dies,
    the other one gets a SIGTERM too. The function and its arguments must be picklable.

    Raises:
        CellStopped: If there was such a signal, when the process has ended.
    """
    # joblib's workers have a start method of their own, which a child could not take over.
    multiprocessing.set_start_method("forkserver", force=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    exit_with_parent()
    level = logging.getLogger().getEffectiveLevel()
    process = context.Process(target=_child, args=(function, arguments, level))
    passed_on = _PassedOn(process)
    # A worker is born with all of them blocked: it is told by the sweep, and by that alone.
    with handled(passed_on), masked(signal.SIG_UNBLOCK, [signal.SIGTERM]):
        try:
            with stops_blocked():
                forkserver.ensure_running()
            process.start()
        except (EOFError, ConnectionError):
            return None
        process.join()
    passed_on.leave_if_stopped()
    return None if process.exitcode == LOST_EXIT_CODE else process.exitcode


def _child(function: Callable[..., None], arguments: tuple, level: int) -> None:
    # A terminal sends Ctrl-C to all processes of a sweep; this one is told by its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # the server has them blocked
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    parent = multiprocessing.parent_process()

    def stop_when_orphaned() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_orphaned, daemon=True).start()
    function(*arguments)


class _PassedOn:
    """A handler that passes signals on to a process, which ends when it has saved."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        self._received: int | None = None
        self._told_at = -math.inf

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        self._received = self._received or signal_number
        if self._process.pid is None:
            self.leave_if_stopped()
        if time.monotonic() - self._told_at > ONE_STOP_SECONDS and self._process.is_alive():
            self._told_at = time.monotonic()
            os.kill(self._process.pid, signal.SIGTERM)

    def leave_if_stopped(self) -> None:
        if self._received is not None:
            raise CellStopped(128 + self._received)
