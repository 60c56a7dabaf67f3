"""Calls of functions that this process and others, one for each further core, share."""

import pickle
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any, Generic, TypeVar

from sslbench.machine.processes import start_module
from sslbench.machine.threads import allowed_threads

MOST_PROCESSES = 8
"""This one is one of them; each of the others takes 150 MB."""
Result = TypeVar("Result")


class ProcessLost(Exception):
    """A process could not be started, or ended before it had answered."""


class Call(Generic[Result]):
    """A function call that another process begins, as soon as one is free.

    Function and arguments are pickled at once, the result later. On one core there is no other
    process.
    """

    def __init__(self, function: Callable[..., Result], *arguments: object) -> None:
        self._call = partial(function, *arguments)
        self._future: Future[Result] = Future()
        if _num_others() > 0:
            self._future = _dispatchers().submit(_make_elsewhere, pickle.dumps(self._call))

    def help(self) -> None:
        """Make the call in this process, unless another has begun it."""
        if self._future.cancel():
            self._future = Future()
            try:
                self._future.set_result(self._call())
            except Exception as error:
                self._future.set_exception(error)

    def result(self) -> Result:
        """Return what the function returns, or raise what it raises."""
        self.help()
        try:
            return self._future.result()
        except ProcessLost:  # out of memory, perhaps: one at a time needs less
            return self._call()


def help_with(calls: Sequence[Call[Any]]) -> None:
    """Make calls in this process until all have begun, the last first."""
    for call in reversed(calls):
        call.help()


def import_early(module: str) -> None:
    """Let other processes import what calls will need, while this one does something else."""
    for _ in range(_num_others()):
        Call(_import, module)


@contextmanager
def processes_ended() -> Iterator[None]:
    """Leave no other process when the context ends, however it does."""
    try:
        yield
    finally:
        if _dispatchers.cache_info().currsize:
            _dispatchers().shutdown(wait=False, cancel_futures=True)
            _dispatchers.cache_clear()
            while _processes:
                process = _processes.pop()
                process.kill()
                process.wait()


_processes: list[subprocess.Popen[bytes]] = []
_of_this_thread = threading.local()


def _num_others() -> int:
    return min(allowed_threads(), MOST_PROCESSES) - 1


def _import(module: str) -> None:
    import_module(module)


@cache
def _dispatchers() -> ThreadPoolExecutor:
    """Return a thread for each process: it sends a call when the last one is answered.

    So what no process has begun can be taken back.
    """
    return ThreadPoolExecutor(_num_others())


def _make_elsewhere(call: bytes) -> Any:
    try:
        process = _process()
        pickle.dump(call, process.stdin)
        process.stdin.flush()
        result, error = pickle.load(process.stdout)
    except Exception as error:  # of many kinds, by when it ended
        raise ProcessLost from error
    if error is not None:
        raise error
    return result


def _process() -> subprocess.Popen[bytes]:
    """Return this thread's process, started anew where it has ended."""
    process = getattr(_of_this_thread, "process", None)
    if process is None or process.poll() is not None:
        process = _of_this_thread.process = start_module("sslbench.machine.call_server")
        _processes.append(process)
    return process
