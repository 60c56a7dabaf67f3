"""Calls of functions that this process and others, one for each further core, share."""

import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from threading import Lock
from typing import Any, Generic, TypeVar

from sslbench.machine.processes import exit_with_parent, stops_blocked
from sslbench.machine.threads import allowed_threads

IDLE_SECONDS = 10
"""After these without a call a process ends."""
Result = TypeVar("Result")

_lock = Lock()


class Call(Generic[Result]):
    """A function call that another process begins, as soon as one is free.

    Function and arguments are pickled at once, the result later. On one core there is no other
    process.
    """

    def __init__(self, function: Callable[..., Result], *arguments: object) -> None:
        self._call = partial(function, *arguments)
        self._future: Future[Result] = Future()
        if allowed_threads() > 1:
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
        except BrokenProcessPool:  # out of memory, perhaps: one at a time needs less
            return self._call()


def help_with(calls: Sequence[Call[Any]]) -> None:
    """Make calls in this process until all have begun, the last first."""
    for call in reversed(calls):
        call.help()


def import_early(module: str) -> None:
    """Let other processes import what calls will need, while this one does something else."""
    for _ in range(allowed_threads() - 1):
        Call(_import, module)


def stop_calls() -> None:
    """End the other processes, whatever they do, and begin no further calls."""
    if not _dispatchers.cache_info().currsize:
        return
    dispatchers = _dispatchers()
    _dispatchers.cache_clear()
    dispatchers.shutdown(wait=False, cancel_futures=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loky's, of a system without `pgrep`
        _end(_other_processes())
    dispatchers.shutdown()


@contextmanager
def stopped_at_errors() -> Iterator[None]:
    """End the other processes if an error leaves the context, or a Ctrl-C."""
    try:
        yield
    except BaseException:
        stop_calls()
        raise


def _import(module: str) -> None:
    import_module(module)


@cache
def _dispatchers() -> ThreadPoolExecutor:
    """Return threads that wait for one call each, so that one that has not begun can be taken."""
    with stops_blocked():
        _other_processes()  # imports loky: threads would wait for ever for what a Ctrl-C interrupts
    return ThreadPoolExecutor(allowed_threads() - 1)


def _make_elsewhere(call: bytes) -> Any:
    from joblib.externals.loky.process_executor import ShutdownExecutorError

    try:
        with stops_blocked():  # a Ctrl-C is for this process, which ends the others
            future = _begin(_other_processes(), call)
    except Exception as error:  # a daemon may start none, nor may who has no shared memory
        raise BrokenProcessPool from error
    try:
        return future.result()
    except ShutdownExecutorError as error:  # another thread could begin nothing there
        raise BrokenProcessPool from error


def _begin(processes: Any, call: bytes) -> Any:
    try:
        return processes.submit(_make, call)
    except Exception:  # as when Python is about to end: it would wait for what has begun so far
        _end(processes)
        raise


def _make(call: bytes) -> Any:
    return pickle.loads(call)()


def _other_processes() -> Any:
    """Return loky's processes, others than joblib's: that takes what is loky's for its own."""
    with _lock:
        return _executor()


def _end(processes: Any) -> None:
    with _lock:
        if _executor.cache_info().currsize and _executor() is processes:
            _executor.cache_clear()
        processes.shutdown(kill_workers=True)


@cache
def _executor() -> Any:
    from joblib.externals.loky import ProcessPoolExecutor

    options = {"timeout": IDLE_SECONDS, "initializer": exit_with_parent}
    return ProcessPoolExecutor(allowed_threads() - 1, **options)
