"""Command lines of all kinds: each is planned, or refused in few words, soon, in little memory.

`python -m tests.faults.configurations --number 10000 --jobs 2` draws them by seeds with hypothesis;
`--seed 17 --number 100` draws a part of them again. Nothing is trained or downloaded.
"""

import argparse
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from helpers.commands import train_here

from faults.command_lines import OF_ONE_SEED, draw
from sslbench.build import build
from sslbench.cell.cell import Cell
from sslbench.exit_codes import CellStopped
from sslbench.sweep.isolation import PRELOADED
from sslbench.sweep.plan import Plan

SECONDS, WALL_SECONDS = 10.0, 60.0
"""Of the processor, as others may be busy on it too; and by the clock, for what only waits."""
GROWTH_BYTES, ROOM_BYTES = 1_500_000_000, 4_000_000_000
"""What a command line may take, and what there is for it in a process that may die of it."""
MAX_LINES, MAX_WIDTH = 12, 120


class Hang(BaseException):
    """A command took too long."""


def check(folder: Path, arguments: tuple[str, ...], *, builds: bool = False) -> str:
    """Plan a command line in this process; return what is wrong with what it does, or nothing.

    `builds`: a cell is built too, which may take this process with it.
    """
    began, before = time.monotonic(), peak_memory()

    def give_up(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with untrained(builds=builds):
            result = train_here(folder, *arguments)
    except Hang:
        return f"hang: {_where()}"
    except BaseException as error:
        return f"uncaught: {type(error).__name__}: {str(error)[:300]} ({_where()})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    if peak_memory() - before > GROWTH_BYTES:
        return (
            f"memory: {(peak_memory() - before) / 1e9:.1f} GB in {time.monotonic() - began:.1f} s"
        )
    if result.returncode not in (0, 2):
        return f"exit code {result.returncode}: {_shortened(result.stdout + result.stderr)}"
    return judge(result.stderr, arguments) if result.returncode else ""


def judge(message: str, arguments: tuple[str, ...]) -> str:
    """Return what is wrong with how a command line was refused."""
    shown = _shortened(message)
    if not message.strip():
        return "refused without a word"
    if "Traceback" in message:
        return f"traceback: {shown}"
    if re.search(r"\bbug\b", message):
        return f"called a bug: {shown}"
    found = re.search(r"\b[A-Z]\w+(Exception|Error)\b|full_key:|object_type=", message)
    if found and found[0] not in " ".join(arguments):
        return f"names a class, {found[0]}: {shown}"
    without_values = message
    for argument in sorted(arguments, key=len, reverse=True):
        for part in (argument, argument.partition("=")[2]):
            if len(part) > 3:
                without_values = without_values.replace(part, "…")
    without_values = without_values.replace(str(Path.cwd()), "…")
    lines = without_values.splitlines()
    if len(lines) > MAX_LINES:
        return f"{len(lines)} lines: {shown}"
    # A usage and what is wrong with an option are argparse's, which breaks lines as it likes.
    argparses = r"usage:|  +\[|sslbench\.train: error: (argument|unrecognized arguments)"
    lines = [line for line in lines if not re.match(argparses, line)]
    longest = max(lines, key=len, default="")
    return f"a line of {len(longest)}: {shown}" if len(longest) > MAX_WIDTH else ""


def _shortened(text: str) -> str:
    return text if len(text) < 900 else f"{text[:450]} [...] {text[-450:]}"


def _where() -> str:
    """Return the last place in this project of the error that is being handled."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [
        frame for frame in frames if "sslbench" in frame.filename and "tests" not in frame.filename
    ]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "?"


@contextmanager
def untrained(*, builds: bool = False) -> Iterator[None]:
    """Let a cell that would train be done at once, measure nothing, and have no network."""

    def would_train(cell: Cell, **_: object) -> None:
        if builds:
            try:
                build(cell.settings)
            except (ValueError, MemoryError):
                pass
            except RuntimeError as error:
                if "alloc" not in str(error):
                    raise
        raise CellStopped(0)

    def unknown_costs(plan: Plan, *_: object) -> dict[str, str]:
        return {job.cell.id: "not measured" for job in plan.to_do()}

    with ExitStack() as stack:
        for name, other in (
            ("sslbench.sweep.job.train_cell", would_train),
            ("sslbench.sweep.run.Measurements", lambda: nullcontext("none")),
            ("sslbench.sweep.run.estimate", unknown_costs),
            ("socket.getaddrinfo", mock.Mock(side_effect=OSError("no network in this test"))),
        ):
            stack.enter_context(mock.patch(name, other))
        yield


def peak_memory() -> int:
    """Return the most bytes that this process had resident since it was last asked to forget it."""
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024
    Path("/proc/self/clear_refs").write_text("5")
    return peak


ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Finding:
    """What is wrong with a command line."""

    seed: int
    arguments: tuple[str, ...]
    problem: str


def survey(number: int) -> list[Finding]:
    """Check the command lines of a seed, in processes that may hang and die."""
    found: list[Finding] = []
    with ONE_AT_A_TIME:  # Hydra composes, and hypothesis draws, in one thread
        lines = draw(number)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "sslbench.train"])
    position = 0
    while position < len(lines):
        mine, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, lines[position:]))
        worker.start()
        theirs.close()
        while position < len(lines):
            problem = _answer(mine)
            if problem is None:
                problem = "the process hung or died: "
                worker.join(0.5)
                problem += f"exit code {worker.exitcode}"
            if problem:
                found.append(Finding(number, lines[position], problem))
            position += 1
            if problem.startswith("the process"):
                break
        worker.kill()
        worker.join()
    return found


def _answer(connection: Connection) -> str | None:
    """Return what a worker says of its next line; None if it hangs or is gone."""
    try:
        return connection.recv() if connection.poll(WALL_SECONDS) else None
    except EOFError:
        return None


def _work(connection: Connection, lines: list[tuple[str, ...]]) -> None:
    sys.argv = ["sslbench.train"]
    size = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, size + ROOM_BYTES))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "a" / "b"
        folder.mkdir(parents=True)
        os.chdir(folder)
        for arguments in lines:
            connection.send(check(folder, arguments, builds=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.configurations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=OF_ONE_SEED)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="one JSON object for each line that is wrong")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + -(-options.number // OF_ONE_SEED))
    findings: list[Finding] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, found in zip(seeds, pool.map(survey, seeds), strict=True):
            findings += found
            for finding in found:
                words = " ".join(map(repr, finding.arguments))
                print(f"{number}: {words[:300]}\n    {finding.problem[:400]}", flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(asdict(finding)) + "\n")
    kinds = Counter(
        re.split(r"[:,]| of \d", re.sub(r"^\d+ ", "", it.problem))[0] for it in findings
    )
    print(f"{len(seeds) * OF_ONE_SEED} command lines: {len(findings)} wrong, {dict(kinds)}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
