"""Calls of functions that this process and others, one for each further core, share."""

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from importlib import import_module
from typing import Any, Generic, TypeVar

from sslbench.machine.processes import exit_with_parent, stops_blocked
from sslbench.machine.threads import allowed_threads

Result = TypeVar("Result")


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
    if allowed_threads() > 1:
        _dispatchers().shutdown(wait=False, cancel_futures=True)
        _dispatchers.cache_clear()
        _other_processes().shutdown(kill_workers=True)


def _import(module: str) -> None:
    import_module(module)


@cache
def _dispatchers() -> ThreadPoolExecutor:
    """Return threads that wait for one call each, so that one that has not begun can be taken."""
    return ThreadPoolExecutor(allowed_threads() - 1)


def _make_elsewhere(call: bytes) -> Any:
    with stops_blocked():  # a Ctrl-C is for this process, which ends the others
        future = _other_processes().submit(_make, call)
    return future.result()


def _make(call: bytes) -> Any:
    return pickle.loads(call)()


def _other_processes() -> Any:
    from joblib.externals.loky import get_reusable_executor

    return get_reusable_executor(allowed_threads() - 1, initializer=exit_with_parent)
