"""Each cell of a sweep in a process of its own, so that its end is never the sweep's."""

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from sslbench.exit_codes import CellStopped
from sslbench.processes import exit_with_parent

# Imported once by the server that the cells' processes are forked from. The first two are what each
# of them would import before all else, for the main module of the process that started it; that
# module itself would be warned of.
PRELOADED = [
    "sslbench.config.compose",
    "sslbench.sweep.job",
    "sslbench.run",
    "sklearn.linear_model",
    "torchvision.models",
    "sslbench.sweep.preloaded",
]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_SIGNAL_SECONDS = 1.0


def run_isolated(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a fresh process and return its exit code; minus n where signal n ended it.

    SIGINT and SIGTERM are passed on as SIGTERM, and the process is waited for. If this process
    dies, the other one gets a SIGTERM too. The function and its arguments must be picklable.
    """
    # joblib's workers have a start method of their own, which a child could not take over.
    multiprocessing.set_start_method("forkserver", force=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    exit_with_parent()
    level = logging.getLogger().getEffectiveLevel()
    process = context.Process(target=_child, args=(function, arguments, level))
    process.start()
    with _signals_passed_on(process):
        process.join()
    return process.exitcode


def _child(function: Callable[..., None], arguments: tuple, level: int) -> None:
    # A terminal sends Ctrl-C to all processes of a sweep; this one is told by its parent, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
    parent = multiprocessing.parent_process()

    def stop_when_orphaned() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_orphaned, daemon=True).start()
    function(*arguments)


@contextmanager
def _signals_passed_on(process: BaseProcess) -> Iterator[None]:
    """Pass signals to the process, then leave with the signal's exit code once it has ended.

    One Ctrl-C may come twice, from the terminal and from the sweep; passed on twice, the process
    would not save.
    """
    received: list[int] = []
    last_passed_on = -math.inf

    def pass_on(signal_number: int, frame: FrameType | None) -> None:
        nonlocal last_passed_on
        received.append(signal_number)
        if time.monotonic() - last_passed_on < SAME_SIGNAL_SECONDS:
            return
        last_passed_on = time.monotonic()
        if process.is_alive():
            os.kill(process.pid, signal.SIGTERM)

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = {n: signal.signal(n, pass_on) for n in SIGNALS} if in_main_thread else {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        raise CellStopped(128 + received[0])
