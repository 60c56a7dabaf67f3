"""How long a person waits: for help, a first training step, a finished cell, a plan.

    python -m benchmarks.startup --models resnet18

Seconds of whole commands, from the start of Python on. The first step is taken when the first line
of the curves is written (log_every=1), in a new output folder and in one that has the stand-in's
cache; the command is then stopped. Interleaved medians.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.command import (
    Table,
    add_cells_options,
    command_parser,
    data_overrides,
    print_tables,
    scratch_folder,
)
from benchmarks.growth import TINY
from benchmarks.measure import ROOT, Spread, interleave, run_module, spread

POLL_SECONDS = 0.005
STOPPED = 128 + signal.SIGTERM


def main() -> None:
    parser = command_parser("startup", __doc__)
    add_cells_options(parser)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(find_finished(Path(arguments.part))))
        return
    if arguments.quick:
        arguments.repeats = 1
        arguments.models, arguments.methods = arguments.models[:1], arguments.methods[:1]
    with scratch_folder() as folder:
        rows = [*help_rows(arguments), *first_step_rows(folder, arguments)]
        rows += finished_rows(folder / "finished", arguments)
        rows += plan_rows(folder / "plan", arguments)
    columns = ("what", "median", "quartiles")
    print_tables([Table("Start-up", columns, rows)], arguments)


def row(what: str, values: list[float]) -> tuple[str, str, str]:
    found: Spread = spread(values)
    return what, f"{found.median:.3f} s", f"{found.lower:.3f} to {found.upper:.3f}"


def help_rows(arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    modules = ("sslbench.train", "sslbench.report")
    runs = interleave(
        {f"{module} --help": partial(time_command, module, "--help") for module in modules},
        arguments.repeats,
    )
    return [row(what, values) for what, values in runs.items()]


def time_command(module: str, *words: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def first_step_rows(folder: Path, arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    fresh = (folder / f"new-{number}" for number in range(10**6))
    warm = folder / "warm"
    data = data_overrides(arguments.data_root)
    cells = [(model, method) for model in arguments.models for method in arguments.methods]
    seeds = iter(range(10**6))

    def in_new_folder(*words: str) -> float:
        return seconds_to_first_step(next(fresh), *words)

    def in_warm_folder(*words: str) -> float:
        return seconds_to_first_step(warm, f"seed={next(seeds)}", *words)

    candidates = {}
    for model, method in cells:
        words = (f"model={model}", f"method={method}", *data)
        candidates[f"first step, {model} {method}"] = partial(in_warm_folder, *words)
    model, method = cells[0]
    candidates[f"first step, {model} {method}, new output folder"] = partial(
        in_new_folder, f"model={model}", f"method={method}", *data
    )
    in_warm_folder(f"model={model}", f"method={method}", *data)
    runs = interleave(candidates, arguments.repeats)
    return [row(what, values) for what, values in runs.items()]


def seconds_to_first_step(outputs: Path, *words: str) -> float:
    """Start a training, wait for its first line of curves, and stop it."""
    known = set(outputs.glob("cells/*/metrics.jsonl"))
    command = [sys.executable, "-m", "sslbench.train", *words, "log_every=1", f"outputs={outputs}"]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        new = set(outputs.glob("cells/*/metrics.jsonl")) - known
        if any(path.stat().st_size > 0 for path in new):
            break
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    process.send_signal(signal.SIGTERM)
    error = process.communicate()[1]
    if process.returncode not in (0, STOPPED):
        raise RuntimeError(f"{' '.join(command)} failed:\n{error[-3000:]}")
    return seconds


def finished_rows(outputs: Path, arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    words = (*TINY, "steps=1", "data=digits", "tracking=off", f"outputs={outputs}")
    time_command("sslbench.train", *words)
    runs = interleave(
        {
            "finished cell, whole command": partial(time_command, "sslbench.train", *words),
            "finished cell, in the process": lambda: run_module(
                "benchmarks.startup", "--part", str(outputs)
            ),
        },
        arguments.repeats,
    )
    return [row(what, values) for what, values in runs.items()]


def find_finished(outputs: Path) -> float:
    """Time composing, identifying and finding the cell, once the imports are made."""
    from sslbench.cell.folder import CellFolder
    from sslbench.cell.identity import cell_id
    from sslbench.cell.record import DONE
    from sslbench.config.compose import compose_settings
    from sslbench.sweep.preflight import Preflight

    began = time.perf_counter()
    settings = compose_settings(
        [*TINY, "steps=1", "data=digits", "tracking=off", f"outputs={outputs}"]
    )
    settings = Preflight().make_concrete(settings)
    record = CellFolder(settings.outputs, cell_id(settings)).record()
    seconds = time.perf_counter() - began
    assert record is not None, "the finished cell was not found"
    assert record.status == DONE, record.error
    return seconds


def plan_rows(outputs: Path, arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    """Time the plan of the paper's 18 cells, none of which has a record."""
    words = ("-m", "experiment=paper", "hydra.sweeper.dry_run=true", f"outputs={outputs}")
    runs = [time_command("sslbench.train", *words) for _ in range(arguments.repeats)]
    return [row("dry run of experiment=paper", runs)]


if __name__ == "__main__":
    main()
