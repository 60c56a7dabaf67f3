"""What processes of a sweep owe each other: who gets which signal, and who ends with whom."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any

POLL_SECONDS = 0.5
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
"""Signals that ask to stop: Ctrl-C, `kill` or a scheduler, a terminal that is closed, a scheduler
that gives notice."""
ONE_STOP_SECONDS = 1.0
"""One request may come several times: to all processes of a group, and passed on by the sweep."""

_watched = threading.Event()


def leave(signal_number: int, frame: FrameType | None = None) -> None:
    """Leave at once, whatever is going on, with the exit code of a signal: a handler.

    What is being written is under a temporary name, and locks go with the process.
    """
    with suppress(Exception):  # it may be in the middle of just that
        sys.stdout.flush()
    os._exit(128 + signal_number)


Handler = Callable[[int, FrameType | None], Any]


def handle(handler: Handler) -> dict[int, Any]:
    """Let a function handle the signals that ask to stop, and return their handlers so far.

    One that is ignored stays ignored, and outside the main thread nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) or signal.SIG_DFL for number in STOPS}
    previous = {number: each for number, each in found.items() if each is not signal.SIG_IGN}
    for number in previous:
        signal.signal(number, handler)
    return previous


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Let a function handle them for a while."""
    previous = handle(handler)
    try:
        yield
    finally:
        for number, each in previous.items():
            signal.signal(number, each)


@contextmanager
def masked(how: int, signals: Iterable[int]) -> Iterator[None]:
    """Block or unblock signals in this thread, and in the processes and threads that it starts."""
    previous = signal.pthread_sigmask(how, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def stops_blocked() -> Iterator[None]:
    """Block the signals that ask to stop in this thread, and in the processes that it starts."""
    with masked(signal.SIG_BLOCK, STOPS):
        resource_tracker.ensure_running()  # unblocks two of them, now or later
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        yield


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Let signals that ask to stop reach this process, and no process that is started meanwhile.

    A child inherits what the thread that starts it has blocked. So another thread gets them; their
    handler runs in the main one, as ever, when that is next awake.
    """
    over = threading.Event()
    threading.Thread(target=over.wait, daemon=True).start()
    try:
        with stops_blocked():
            yield
    finally:
        over.set()


def start_module(module: str, *options: str, **more: Any) -> subprocess.Popen:
    """Start one of our modules as a process that is asked and answers through pipes.

    It imports from where this one does. A Ctrl-C is for this one alone, which ends it.

    Args:
        options: Of Python.
        more: Arguments of `Popen`.
    """
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", *options, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
        **more,
    )


def exit_with_parent() -> None:
    """End this process when the one that started it dies, however that ends.

    A joblib worker would outlive it, and go on with its work. Nothing happens in a process that
    Python did not start for such work.
    """
    if _watched.is_set() or multiprocessing.parent_process() is None:
        return
    _watched.set()
    parent = multiprocessing.parent_process().pid

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def kill_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends; elsewhere do nothing."""
    set_death_signal = 1
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
