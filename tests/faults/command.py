"""The command in a process of its own, with a fault in it; forked from one that imported all."""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Protocol

from sslbench.sweep.isolation import PRELOADED

TESTS = str(Path(__file__).resolve().parents[1])
HANG_SECONDS = 60.0
MARK = "fault-struck"
"""The file beside the work folder that says that an armed fault was met."""


class Fault(Protocol):
    """Something that will go wrong in this process."""

    def arm(self) -> None: ...


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, -n where signal n ended it, None where it hung."""

    exit_code: int | None
    said: str
    struck: bool = False
    """Whether the fault was met."""
    seconds: float = 0.0


def run_command(folder: Path, arguments: tuple[str, ...], fault: Fault | None = None) -> Ending:
    """Run `python -m sslbench.train` in `folder`."""
    said, mark = folder.with_name("said.txt"), folder.with_name(MARK)
    for path in (said, mark):
        path.unlink(missing_ok=True)
    began = time.monotonic()
    process = _context().Process(target=_child, args=(str(folder), arguments, fault))
    process.start()
    process.join(HANG_SECONDS)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    text = said.read_text(errors="replace") if said.exists() else ""
    seconds = time.monotonic() - began
    return Ending(None if hung else process.exitcode, text, mark.exists(), round(seconds, 2))


def _context() -> ForkServerContext:
    """Return the context whose server, where this process starts it, has done what takes time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "sslbench.train", "faults.disturb", "faults.warm"])
    known = os.environ.get("PYTHONPATH", "")  # the server's: it has no other way to find `faults`
    if TESTS not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, str(Path(TESTS).parent), known])
    return context


def _child(folder: str, arguments: tuple[str, ...], fault: Fault | None) -> None:
    output = os.open(f"{Path(folder).parent}/said.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for name in [it for it in os.environ if it.startswith(("WANDB", "SSLBENCH", "HYDRA"))]:
        del os.environ[name]
    os.environ["HOME"] = folder
    sys.argv = ["sslbench.train", *arguments]

    from sslbench.train import main

    if fault is not None:
        fault.arm()
    main()
