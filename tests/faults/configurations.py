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
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from helpers.commands import train_here
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sslbench.build import build
from sslbench.cell.cell import Cell
from sslbench.cell.record import flatten
from sslbench.config.as_json import TYPE, settings_to_json
from sslbench.config.compose import compose_settings, conf_dir
from sslbench.exit_codes import CellStopped
from sslbench.sweep.isolation import PRELOADED
from sslbench.sweep.plan import Plan

SECONDS, WALL_SECONDS = 10.0, 60.0
"""Of the processor, as others may be busy on it too; and by the clock, for what only waits."""
GROWTH_BYTES, ROOM_BYTES = 1_500_000_000, 4_000_000_000
"""What a command line may take, and what there is for it in a process that may die of it."""
MAX_LINES, MAX_WIDTH = 12, 120
OF_ONE_SEED = 100
GROUPS = ("model", "method", "augmentation", "ratio", "optimizer", "data", "tracking", "experiment")
OF_HYDRA = ("hydra.sweeper.dry_run", "hydra.sweeper.retry_limit", "hydra.sweeper.only")
OF_HYDRA += ("hydra.launcher.n_jobs", "hydra.job.chdir", "hydra.run.dir", "hydra.verbose")
OF_HYDRA += ("hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra.sweeper.params")
TYPICAL = "0 1 2 3 5 8 20 0.1 0.5 0.9 1.0 1e-3 true false null auto best last".split()
NUMBERS = "-1 -0.5 1e30 1e-30 5e-324 1e308 1e400 inf -inf nan .inf .nan NaN 1e9 1e12 010 0x10 1_000"
NUMBERS += " 1000000000 1000000000000 9223372036854775807 9223372036854775808 1e 12:30 2026-01-01"
NUMBERS += f" {10**30} -{10**18} 100000 4294967296 1.5 .5 1."
YAML = "true off no yes on ~ None null '' \"\" ??? & * &a *a | > - -- ! !!int !!python/none % @ `"
LISTS = "[] [1] [1,2] [0.2,1] [8,8,8,8] [null] [[1]] [a] [nan,1] [1e12] {} {a:1} {a:{b:1}} [1,2"
LISTS += " {a [1000000000,1000000000] [true] [-1] [0] {from:barlow} {name:x}"
HYDRA = (
    "1,2 1,,2 a,b , range(1,3) range(0,1e9) choice(a,b) choice(1) interval(0,1) glob(*) sort(3,1)"
)
HYDRA += " shuffle(1,2) tag(a,1) int(1.5) float(x) json_str(1) extend_list(1) f( ${seed} ${nope}"
HYDRA += (
    " ${oc.env:HOME} ${oc.env:NOPE_NOT_SET} ${oc.decode:x} ${seed ${} ${.} ${..seed} \\ \\, a\\=b"
)
TEXTS = [
    "a b",
    "'a b'",
    '"a b"',
    "'a",
    '"',
    "é",
    "日本",
    "😀",
    "a#b",
    "#",
    "a=b",
    "=",
    "==",
    "a:b",
    ":",
]
TEXTS += ["<b>", "$x", "$HOME/x", "~/x", "../x", "/proc/none/x", "/dev/null", "/dev/full/x", "x.pt"]
TEXTS += [
    "x" * 300,
    "x" * 20_000,
    "[" * 500,
    "(" * 500,
    "1" * 5000,
    "\t",
    "\n",
    "a\nb",
    "\u202e",
    "\x1b[31m",
]
TEXTS += [
    "cpu",
    "cpu:7",
    "cuda",
    "cuda:99",
    "cuda:-1",
    "mps",
    "barlow",
    "barlow steps=1",
    "semi x=1",
]
TEXTS += [
    "file:///dev/null",
    "http://127.0.0.1:9/x",
    "http://u:p@127.0.0.1:9/x",
    "ftp://x",
    "http://[",
]
VALUES = [*NUMBERS.split(), *YAML.split(), *LISTS.split(), *HYDRA.split(), *TEXTS]


@cache
def choices() -> dict[str, list[str]]:
    """Return the choices of each config group."""
    files = sorted(Path(conf_dir()).glob("*/*.yaml"))
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for path in files:
        if path.parent.name in found:
            found[path.parent.name].append(path.stem)
    assert all(len(names) > 1 for names in found.values()), found
    return found


@cache
def known() -> dict[str, object]:
    """Return all settings there are, those of all choices among them, with a value of each."""
    found: dict[str, object] = dict.fromkeys(OF_HYDRA, "")
    for group in ("model", "method", "augmentation", "optimizer", "tracking"):
        for choice in choices()[group]:
            made = settings_to_json(compose_settings([f"{group}={choice}", "data=digits"]))
            found |= {key: it for key, it in flatten(made).items() if not key.endswith(TYPE)}
    return dict(sorted(found.items()))


@cache
def keys() -> list[str]:
    return list(known())


@cache
def number_keys() -> list[str]:
    """Return the settings that are numbers, or none, or lists of numbers."""
    return [
        key
        for key, value in known().items()
        if value is None or (isinstance(value, int | float | list) and not isinstance(value, bool))
    ]


def values() -> st.SearchStrategy[str]:
    text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
    number = st.one_of(st.integers().map(str), st.floats().map(repr))
    names = [choice for names in choices().values() for choice in names]
    return st.one_of(
        st.sampled_from(TYPICAL), st.sampled_from(VALUES), st.sampled_from(names), number, text
    )


def overrides() -> st.SearchStrategy[str]:
    key = st.one_of(
        st.sampled_from(keys()),
        st.sampled_from(keys()),
        st.sampled_from(keys()).map(lambda it: it[:-1]),
        st.sampled_from([*GROUPS, "init", "cell", "method.nope", "", ".", "a.b.c", "model@x", "é"]),
    )
    prefix = st.sampled_from(["", "", "", "", "", "", "+", "++", "~"])
    setting = st.builds(lambda p, k, v: f"{p}{k}={v}", prefix, key, values())
    group = st.sampled_from([f"{name}={it}" for name, names in choices().items() for it in names])
    ratio = st.builds(lambda a, b: f"ratio={a}:{b}", st.integers(-1, 30), st.integers(0, 10**10))
    bare = st.one_of(
        values(), st.sampled_from(keys()), st.sampled_from(["--", "-x", "--cfg", "-h"])
    )
    extreme = st.sampled_from([*NUMBERS.split(), *LISTS.split()])
    hard = st.builds(lambda k, v: f"{k}={v}", st.sampled_from(number_keys()), extreme)
    return st.one_of(*[setting] * 6, *[hard] * 6, group, group, ratio, bare)


def command_lines() -> st.SearchStrategy[tuple[str, ...]]:
    """Draw arguments; a sweep's are those of a dry run."""
    single = st.just(())
    swept = st.just(("-m", "hydra.sweeper.dry_run=true"))
    base = st.sampled_from([("data=digits", "tracking=off"), ("data=digits", "tracking=off"), ()])
    some = st.lists(overrides(), min_size=1, max_size=4, unique=True).map(tuple)
    first = st.one_of(single, single, swept)
    return st.builds(lambda a, b, c: (*a, *b, *c), first, base, some).filter(_is_harmless)


def _is_harmless(arguments: tuple[str, ...]) -> bool:
    """A dry run stays one, and nothing is written outside the folder it is started in."""
    last = {it.lstrip("+").partition("=")[0]: it for it in arguments}
    dry = last.get("hydra.sweeper.dry_run", "=true").endswith("=true")
    return dry and not re.match(r"\S+=\s*['\"]?/(?!proc|dev)", last.get("outputs", ""))


def draw(number: int) -> list[tuple[str, ...]]:
    """Return the command lines of a seed."""
    found: list[tuple[str, ...]] = []

    @seed(number)
    @settings(
        max_examples=OF_ONE_SEED,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines())
    def collect(arguments: tuple[str, ...]) -> None:
        found.append(arguments)

    collect()
    return found


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
    # A usage is argparse's, which breaks it as it likes.
    lines = [line for line in lines if not re.match(r"usage:|  +\[", line)]
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
