"""Cells that are killed: functions that run in a process of their own."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from helpers.cells import composer
from helpers.commands import TINY, share_digits
from sslbench.cell.cell import Cell, load_cell
from sslbench.cell.record import Record
from sslbench.machine.processes import STOPS
from sslbench.sweep.isolation import PRELOADED
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.training import train_cell


def tiny_cell(outputs: Path, *overrides: str) -> Cell:
    share_digits(outputs)
    settings, _ = composer([*TINY, f"outputs={outputs}", *overrides])
    return Cell(Preflight().make_concrete(settings), dict)


def train(cell: Cell) -> Record:
    with cell.folder.locked():
        return train_cell(cell)


def forked() -> ForkServerContext:
    """Return the context of processes; their server, once it runs, is that of all tests here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    return context


def in_process(function: Callable[..., Any], cell: Cell, *arguments: Any) -> int:
    """Call a function with a cell in a fresh process and return its exit code."""
    cell.save_request()
    process = forked().Process(
        target=_load_and_call, args=(function, cell.settings.outputs, cell.id, *arguments)
    )
    process.start()
    process.join()
    return process.exitcode


def _load_and_call(function: Callable[..., Any], outputs: str, cell: str, *arguments: Any) -> None:
    # The server was perhaps started by a sweep, which blocks these for all that it starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    function(load_cell(outputs, cell), *arguments)


@contextmanager
def signalled(
    step: int, number: int, happened: Callable[[], object] = lambda: True
) -> Iterator[None]:
    """Send this process a signal in the `step`-th step that it takes, before weights change.

    The step waits until something that a thread does has happened.
    """
    steps = count(1)

    def note(optimizer: Optimizer, *_: Any) -> None:
        fits_a_probe = isinstance(optimizer, LBFGS)
        if not fits_a_probe and next(steps) == step:
            while not happened():
                time.sleep(0.01)
            os.kill(os.getpid(), number)

    hook = register_optimizer_step_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def signalled_once(happened: Callable[[], object], number: int) -> Iterator[None]:
    """Send this process's main thread a signal as soon as something has happened."""
    left = threading.Event()

    def watch() -> None:
        while not happened() and not left.wait(0.02):
            pass
        if not left.is_set():
            signal.pthread_kill(threading.main_thread().ident, number)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        left.set()
        watching.join()


def signal_in_step(cell: Cell, step: int, number: int, after: str | None = None) -> None:
    """Train with a signal in a step, which waits for a file of the cell if `after` names one."""
    path = cell.folder.path / after if after else None
    with signalled(step, number, lambda: path is None or path.exists()):
        train(cell)


def kill_in_file(cell: Cell, name: str, number: int) -> None:
    """Train, and die by SIGKILL when half of the `number`-th file called `name` is on the disk."""
    fsync = os.fsync
    seen = 0

    def dying(descriptor: int) -> None:
        nonlocal seen
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen += name in path.name
        if name in path.name and seen == number:
            os.ftruncate(descriptor, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = dying
    train(cell)
