"""Errors that are the machine's, not a user's nor ours: told in a sentence, with the way out."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sslbench.machine.memory import available_memory, free_disk, size
from sslbench.words.wording import fold, shorten

WITH_TRACEBACK = "SSLBENCH_FULL_ERROR"
"""Set where the user has set HYDRA_FULL_ERROR, which Hydra is then told whatever it was."""

DISKS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is used up (quota)",
}
FILES = {
    errno.EIO: "the disk does not read or write it (input/output error); check the disk, or work "
    "on another one",
    errno.EROFS: "its disk is read-only; choose a folder that can be written to",
    errno.EACCES: "you may not read or write it; change its permissions, or choose another folder",
    errno.EPERM: "you may not read or write it; change its permissions, or choose another folder",
    errno.ENOENT: "it is not there, or not any more; run the same command again",
    errno.EMFILE: "too many files are open; allow more of them with `ulimit -n 4096`",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.ESTALE: "the network disk has lost it; run the same command again",
}
ROOM = "make room there, or choose a folder on another disk, and run the same command again"
OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|ALLOC_FAILED|bad_alloc", re.I
)
ASKED_FOR = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGT]iB)")
FREE_ON_GPU = re.compile(r"of which ([\d.]+ ?[KMGT]iB) is free")
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class Trouble(NamedTuple):
    """What happened on this machine, in a word and in a sentence."""

    kind: str
    sentence: str


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it came from, which torch tells only by the context."""
    while error is not None:
        yield error
        before = error.__context__ if isinstance(error, RuntimeError | OSError) else None
        error = error.__cause__ or (None if error.__suppress_context__ else before)


def name_file(error: BaseException, path: Path) -> None:
    """Note the file that an error came from where it does not say: a write's never does."""
    for each in causes(error):
        if isinstance(each, OSError) and each.filename is None:
            each.filename = str(path)


def find_trouble(error: BaseException, smaller: str = "method.batch_size") -> Trouble | None:
    """Return what an error says of this machine; None if it came from elsewhere.

    Args:
        smaller: The setting to lower where memory is short.
    """
    if isinstance(error, ValueError):  # says itself what it is
        return None
    for each in causes(error):
        is_memory = isinstance(each, MemoryError) or getattr(each, "errno", None) == errno.ENOMEM
        is_torchs = isinstance(each, RuntimeError) and OUT_OF_MEMORY.search(str(each))
        if is_memory or is_torchs:
            return Trouble("OutOfMemory", _out_of_memory(str(each), smaller))
        if isinstance(each, RuntimeError) and "can't start new thread" in str(each):
            return Trouble("OutOfThreads", "no more threads may be started; lower threads=…")
        if isinstance(each, OSError) and each.errno is not None:
            return _of_file(each)
    return None


def _out_of_memory(message: str, smaller: str) -> str:
    on_gpu = "CUDA" in message or "CUDNN" in message
    facts = []
    if asked := ASKED_FOR.search(message):
        facts.append(f"{size(float(asked[1]) * UNITS[asked[2]])} more were asked for")
    if on_gpu and (free := FREE_ON_GPU.search(message)):
        facts.append(f"{free[1]} are free")
    elif not on_gpu and (available := available_memory()) is not None:
        facts.append(f"{size(available)} are free")
    told = f" ({', '.join(facts)})" if facts else ""
    place = "the GPU is out of memory" if on_gpu else "out of memory"
    return f"{place}{told}; lower {smaller}, or choose a smaller model"


def _of_file(error: OSError) -> Trouble:
    where = f"{shorten(str(error.filename))}: " if error.filename is not None else ""
    if error.errno in DISKS:
        free = free_disk(Path(os.fsdecode(error.filename or ".")))
        told = f" ({size(free)} free)" if free is not None else ""
        return Trouble("DiskFull", f"{where}{DISKS[error.errno]}{told}; {ROOM}")
    what = FILES.get(error.errno, f"{error.strerror}".lower())
    return Trouble("FileTrouble", f"{where}{what}")


def wants_traceback() -> bool:
    """Whether whoever typed the command asked for tracebacks, by HYDRA_FULL_ERROR=1."""
    return os.environ.get(WITH_TRACEBACK) == "1"


def report_failure(error: BaseException) -> None:
    """Print why the program ends; the traceback only for who asked for it."""
    if wants_traceback():
        traceback.print_exception(error)
    print(fold(f"sslbench: {last_words(error)}"), file=sys.stderr, flush=True)


def last_words(error: BaseException) -> str:
    """Say in a line why the program ends: the machine's trouble, or a bug and where it is."""
    if isinstance(error, ValueError):
        return shorten(str(error))
    trouble = find_trouble(error)
    if trouble is not None:
        return trouble.sentence
    return (
        f"this is a bug in sslbench ({describe(error)}, {_place(error)}); HYDRA_FULL_ERROR=1 shows "
        "the traceback"
    )


def describe(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    first, *_ = [*str(error).splitlines(), ""]
    return f"{type(error).__name__}: {shorten(first)}" if first else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no traceback"
