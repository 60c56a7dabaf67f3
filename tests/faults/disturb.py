"""Faults in a running process: signals, a system that refuses, another clock, other code."""

import builtins
import errno
import io
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.command import MARK

_OPEN = os.open


def note_that_it_struck() -> None:
    os.close(_OPEN(f"../{MARK}", os.O_CREAT | os.O_WRONLY))


@dataclass(frozen=True)
class SignalAtStep:
    """A signal in the `step`-th step of this process, before its weights change."""

    step: int
    number: int

    def arm(self) -> None:
        from torch.optim import LBFGS
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        seen = 0

        def count(optimizer: Any, *_: Any) -> None:
            nonlocal seen
            if isinstance(optimizer, LBFGS):  # fits a probe
                return
            seen += 1
            if seen == self.step:
                note_that_it_struck()
                os.kill(os.getpid(), self.number)

        register_optimizer_step_pre_hook(count)


@dataclass(frozen=True)
class SignalAfter:
    """A signal so many seconds after the start."""

    seconds: float
    number: int

    def arm(self) -> None:
        def send() -> None:
            note_that_it_struck()
            os.kill(os.getpid(), self.number)

        timer = threading.Timer(self.seconds, send)
        timer.daemon = True
        timer.start()


@dataclass(frozen=True)
class KillInFile:
    """SIGKILL when a share of the `nth` file called `name` is on the disk."""

    name: str
    nth: int
    share: float

    def arm(self) -> None:
        fsync, seen = os.fsync, 0

        def dying(descriptor: int) -> None:
            nonlocal seen
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            seen += self.name in path.name
            if self.name in path.name and seen == self.nth:
                note_that_it_struck()
                os.ftruncate(descriptor, int(path.stat().st_size * self.share))
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        os.fsync = dying


@dataclass(frozen=True)
class KillAtRename:
    """SIGKILL just before or after the `nth` renaming to a file called `name`."""

    name: str
    nth: int
    after: bool

    def arm(self) -> None:
        seen = 0

        def wrapped(rename: Callable[..., None]) -> Callable[..., None]:
            def dying(source: Any, target: Any, **more: Any) -> None:
                nonlocal seen
                here = self.name in Path(target).name
                seen += here
                if self.after or not (here and seen == self.nth):
                    rename(source, target, **more)
                if here and seen == self.nth:
                    note_that_it_struck()
                    os.kill(os.getpid(), signal.SIGKILL)

            return dying

        os.replace, os.rename = wrapped(os.replace), wrapped(os.rename)


@dataclass(frozen=True)
class Refusal:
    """The system refuses a `call` (open, write, fsync, rename) of files called `name`.

    From the `nth` on, if it is `lasting`, else once; an empty name is that of all files.
    """

    call: str
    name: str
    nth: int
    number: int
    lasting: bool

    def arm(self) -> None:
        seen = 0

        def check(path: Any) -> None:
            nonlocal seen
            if not isinstance(path, str | os.PathLike):
                return
            whole = Path.cwd() / path
            if self.name not in whole.name or not whole.is_relative_to(Path.cwd()):
                return
            seen += 1
            if seen == self.nth or (self.lasting and seen > self.nth):
                note_that_it_struck()
                raise OSError(self.number, os.strerror(self.number), str(path))

        getattr(self, f"_{self.call}")(check)

    def _open(self, check: Callable[[Any], None]) -> None:
        for module, name in ((builtins, "open"), (io, "open")):
            setattr(module, name, _checked(getattr(module, name), check, _writes))
        os.open = _checked(os.open, check, lambda flags="", *_, **__: bool(flags & os.O_ACCMODE))
        os.mkdir = _checked(os.mkdir, check, lambda *_, **__: True)

    def _write(self, check: Callable[[Any], None]) -> None:
        def opening(original: Callable[..., Any]) -> Callable[..., Any]:
            def opened(path: Any, *more: Any, **named: Any) -> Any:
                file = original(path, *more, **named)
                return _Checked(file, path, check) if _writes(*more, **named) else file

            return opened

        builtins.open, io.open = opening(builtins.open), opening(io.open)

    def _fsync(self, check: Callable[[Any], None]) -> None:
        fsync = os.fsync

        def checked(descriptor: int) -> None:
            check(Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        os.fsync = checked

    def _rename(self, check: Callable[[Any], None]) -> None:
        def wrapped(rename: Callable[..., None]) -> Callable[..., None]:
            def checked(source: Any, target: Any, **more: Any) -> None:
                check(target)
                rename(source, target, **more)

            return checked

        os.replace, os.rename = wrapped(os.replace), wrapped(os.rename)


def _writes(mode: str = "r", *_: Any, **__: Any) -> bool:
    return any(letter in mode for letter in "wax+")


def _checked(
    original: Callable[..., Any], check: Callable[[Any], None], applies: Callable[..., bool]
) -> Callable[..., Any]:
    def checked(path: Any, *more: Any, **named: Any) -> Any:
        if applies(*more, **named):
            check(path)
        return original(path, *more, **named)

    return checked


class _Checked:
    """A file whose writing may be refused."""

    def __init__(self, file: Any, path: Any, check: Callable[[Any], None]) -> None:
        self._file, self._path, self._check = file, path, check

    def write(self, contents: Any) -> int:
        self._check(self._path)
        return self._file.write(contents)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Checked":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()


@dataclass(frozen=True)
class FileSizeLimit:
    """No file may grow beyond so many bytes."""

    size: int

    def arm(self) -> None:
        note_that_it_struck()
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@dataclass(frozen=True)
class ClockBack:
    """The clock jumps back after so many looks at it."""

    after: int
    seconds: float

    def arm(self) -> None:
        original, looks = time.time, 0

        def jumping() -> float:
            nonlocal looks
            looks += 1
            if looks <= self.after:
                return original()
            note_that_it_struck()
            return original() - self.seconds

        time.time = jumping


@dataclass(frozen=True)
class OtherCode:
    """Code with another digest, whose first step moves the weights a little more."""

    def arm(self) -> None:
        import sslbench.run  # noqa: F401  # so that its name is among those that are replaced
        from sslbench.cell import versions

        original = versions.code_digest

        def other(*arguments: Any, **named: Any) -> str:
            return f"0{original(*arguments, **named)[1:]}"

        for module in list(sys.modules.values()):
            if getattr(module, "code_digest", None) is original:
                module.code_digest = other
        assert versions.code_digest is other
        note_that_it_struck()
        OtherNumbers().arm()


@dataclass(frozen=True)
class OtherNumbers:
    """A step of this process multiplies the weights by a factor, after what they learn in it."""

    step: int = 1
    factor: float = 1.01

    def arm(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        seen = 0

        def move(optimizer: Any, *_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == self.step:
                note_that_it_struck()
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.data.mul_(self.factor)

        register_optimizer_step_post_hook(move)


ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EDQUOT", "EROFS")}
