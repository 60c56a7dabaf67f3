"""Cost as work grows: unlabelled images, steps, cells of a sweep, cells of a report.

    python -m benchmarks.growth --only pool,sweep

What should be flat: time per step in the size of the pool, resident memory in the number of steps.
What should be small or linear: what a sweep costs besides its cells, and the report's time.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import count, pairwise
from pathlib import Path

from benchmarks.command import (
    METHODS,
    MODELS,
    Table,
    command_parser,
    names,
    numbers,
    print_tables,
    scratch_folder,
)
from benchmarks.measure import ROOT, interleave, run_module, spread, time_steps

PARTS = ("pool", "memory", "sweep", "report")
POLL_SECONDS = 0.02
TINY = ("model=convnet", "model.channels=8", "method=supervised", "method.batch_size=8")


def main() -> None:
    parser = command_parser("growth", __doc__)
    parser.add_argument("--only", type=names(PARTS), default=PARTS, metavar="A,B")
    parser.add_argument("--pools", type=numbers, default=(1000, 3000, 10_000, 30_000))
    parser.add_argument("--steps", type=numbers, default=(200, 1000, 5000), help="of a run")
    parser.add_argument("--cells", type=numbers, default=(20, 100, 500), help="already done")
    parser.add_argument("--short-cells", type=numbers, default=(20, 100), help="to be trained")
    parser.add_argument("--report-cells", type=numbers, default=(100, 500, 1000))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of steps at each pool size")
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measure_part(arguments.part.split(), arguments)))
        return
    if arguments.quick:
        arguments.pools, arguments.steps = (50, 100), (100, 200)
        arguments.cells, arguments.short_cells, arguments.report_cells = (2, 4), (2,), (2, 4)
        arguments.repeats, arguments.seconds = 1, 0.1
    measured = {"pool": pool, "memory": memory, "sweep": sweep, "report": report}
    print_tables([measured[part](arguments) for part in arguments.only], arguments)


def measure_part(words: list[str], arguments: argparse.Namespace) -> dict[str, float]:
    part, folder = words
    return {"pool": step_on_pool, "report": time_report}[part](Path(folder), arguments)


def pool(arguments: argparse.Namespace) -> Table:
    """Time a Barlow Twins step of ConvNet on pools of noise."""
    from tests.helpers.layouts import make_layout

    def run(root: Path) -> dict[str, float]:
        seconds = str(arguments.seconds)
        return run_module("benchmarks.growth", "--part", f"pool {root}", "--seconds", seconds)

    with scratch_folder() as folder:
        for size in arguments.pools:
            make_layout(folder / str(size), num_train=200, num_test=200, num_unlabeled=size)
        runs = interleave(
            {str(size): partial(run, folder / str(size)) for size in arguments.pools},
            arguments.repeats,
        )
    first = spread([run["step_ms"] for run in runs[str(arguments.pools[0])]]).median
    rows = []
    for size, of_size in runs.items():
        step = spread([run["step_ms"] for run in of_size])
        draw, build, peak = (
            spread([run[key] for run in of_size]).median for key in ("draw_ms", "build_s", "peak")
        )
        rows.append(
            (
                f"{int(size):,}",
                f"{step.median:.1f} ms ({step.lower:.1f} to {step.upper:.1f})",
                f"x{step.median / first:.2f}",
                f"{draw:.2f} ms",
                f"{build:.2f} s",
                f"{peak:.2f} GB",
            )
        )
    columns = ("unlabelled images", "a step", "against the first", "of it drawing", "opening")
    return Table("Time per step and size of the pool", (*columns, "peak memory"), rows)


def step_on_pool(root: Path, arguments: argparse.Namespace) -> dict[str, float]:
    from sslbench.build import build
    from sslbench.config.compose import compose_settings
    from sslbench.engine.device import peak_memory_bytes

    overrides = ["data=layout", f"data.root={root}", f"outputs={root}/outputs", "tracking=off"]
    overrides += ["model=convnet", "model.channels=32", "method=barlow", "ratio=all"]
    began = time.perf_counter()
    training = build(compose_settings(overrides))
    built = time.perf_counter() - began
    training.method.train()
    steps, draws = count(), count()
    pace = time_steps(
        lambda: training.take_step(next(steps)), seconds=arguments.seconds, device=training.device
    )
    drawing = time_steps(
        lambda: training.feed.draw(next(draws)),
        seconds=arguments.seconds / 4,
        device=training.device,
    )
    return {
        "step_ms": 1e3 * pace.seconds / pace.steps,
        "draw_ms": 1e3 * drawing.seconds / drawing.steps,
        "build_s": built,
        "peak": peak_memory_bytes(training.device) / 1e9,
    }


def memory(arguments: argparse.Namespace) -> Table:
    """Watch the resident memory of whole runs, with validation and checkpoints."""
    rows = []
    for steps in arguments.steps:
        samples = watch_run(steps)
        early = [resident for step, resident in samples if 0 < step <= steps / 4]
        # The last step stands while the cell is evaluated, which is not what grows.
        late = [resident for step, resident in samples if steps * 3 / 4 < step < steps]
        if not early or not late:
            raise RuntimeError(f"--steps {steps}: too short to be watched")
        rows.append(
            (
                f"{steps:,}",
                f"{max(early) / 1e6:.0f} MB",
                f"{max(late) / 1e6:.0f} MB",
                f"{(max(late) - max(early)) / 1e6:+.0f} MB",
                f"{(max(late) - max(early)) / steps / 1e3:+.2f} KB",
            )
        )
    columns = ("steps", "peak in the first quarter", "in the last", "growth", "growth per step")
    return Table("Resident memory and number of steps", columns, rows)


def watch_run(steps: int) -> list[tuple[int, int]]:
    """Train a tiny cell and sample (step reached, resident bytes), as its curves tell the step."""
    samples = []
    with scratch_folder() as outputs:
        process = start_training(
            outputs, *TINY, f"steps={steps}", f"log_every={max(1, steps // 20)}", "threads=1"
        )
        while process.poll() is None:
            try:
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096
                samples.append((last_step(outputs), resident))
            except (OSError, IndexError):  # it has just ended
                break
            time.sleep(POLL_SECONDS)
        require_success(process)
    return samples


def last_step(outputs: Path) -> int:
    for curves in outputs.glob("cells/*/metrics.jsonl"):
        whole_lines = curves.read_text().rpartition("\n")[0].splitlines()
        return json.loads(whole_lines[-1])["step"] if whole_lines else 0
    return 0


def start_training(outputs: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sslbench.train", *words]
    command += ["data=digits", "tracking=off", f"outputs={outputs}"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def require_success(process: "subprocess.Popen[str]") -> None:
    """Wait for a command.

    Raises:
        RuntimeError: If it failed; with the end of what it wrote.
    """
    error = process.communicate()[1]
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(process.args)} failed:\n{error[-3000:]}")


def sweep(arguments: argparse.Namespace) -> Table:
    """Time sweeps whose cells are all done, and sweeps of cells of one step."""
    rows = sweep_rows("all done", {size: skip(size) for size in arguments.cells})
    rows += sweep_rows("one step each", {size: train_short(size) for size in arguments.short_cells})
    columns = ("cells", "number", "whole command", "in the cells", "besides, per cell")
    columns += ("besides, each further cell",)
    return Table("What a sweep costs besides its cells", columns, rows)


def sweep_rows(kind: str, measured: dict[int, tuple[float, float]]) -> list[tuple[str, ...]]:
    """One row a size; the last column is the slope from the row above, free of the start-up."""
    rows, previous = [], None
    for size, (seconds, in_cells) in measured.items():
        besides = seconds - in_cells
        slope = "" if previous is None else 1e3 * (besides - previous[1]) / (size - previous[0])
        rows.append(
            (
                kind,
                f"{size:,}",
                f"{seconds:.1f} s",
                f"{in_cells:.1f} s",
                f"{1e3 * besides / size:.0f} ms",
                slope and f"{slope:.0f} ms",
            )
        )
        previous = size, besides
    return rows


def skip(size: int) -> tuple[float, float]:
    from sslbench.cell.identity import cell_id
    from sslbench.config.compose import compose_settings
    from tests.helpers.synthetic import make_cell

    settings = compose_settings(["model=convnet", "method=supervised", "data=digits"])
    with scratch_folder() as outputs:
        for seed in range(size):
            make_cell(outputs, seed=seed, cell_id=cell_id(replace(settings, seed=seed)))
        seconds = time_sweep(outputs, size, "model=convnet", "method=supervised")
        assert len(list(outputs.glob("cells/*"))) == size, "a cell was not found"
    return seconds, 0.0


def train_short(size: int) -> tuple[float, float]:
    with scratch_folder() as outputs:
        seconds = time_sweep(outputs, size, *TINY, "steps=1")
        records = [json.loads(path.read_text()) for path in outputs.glob("cells/*/record.json")]
        assert len(records) == size, "a cell was not trained"
    return seconds, sum(record["runtime"]["total_seconds"] for record in records)


def time_sweep(outputs: Path, size: int, *words: str) -> float:
    began = time.perf_counter()
    require_success(start_training(outputs, "-m", *words, f"seed=range({size})"))
    return time.perf_counter() - began


def report(arguments: argparse.Namespace) -> Table:
    """Time the report over made-up cells, imports not counted."""
    rows = []
    for size in arguments.report_cells:
        with scratch_folder() as outputs:
            make_cells(outputs, size)
            run = run_module("benchmarks.growth", "--part", f"report {outputs}")
        times = [f"{run[key]:.2f} s" for key in ("tables", "whole")]
        each = f"{1e3 * run['whole'] / size:.1f} ms"
        rows.append((f"{size:,}", *times, each, f"{run['peak']:.2f} GB"))
    columns = ("cells", "without pictures", "with pictures", "per cell")
    return Table("The report", (*columns, "peak memory"), rows)


def make_cells(outputs: Path, size: int) -> None:
    """Write made-up cells of all models and methods, seed after seed."""
    from tests.helpers.synthetic import make_cell

    kinds = [(model, method) for model in MODELS for method in METHODS]
    for number in range(size):
        seed, kind = divmod(number, len(kinds))
        model, method = kinds[kind]
        make_cell(outputs, model, method, seed=seed, accuracy=0.5 + kind / 40, files=True)


def time_report(outputs: Path, arguments: argparse.Namespace) -> dict[str, float]:
    import torch

    from sslbench.engine.device import peak_memory_bytes
    from sslbench.tables.assemble import build_report, gather_report, judge, write_report
    from sslbench.tables.pictures import Drawing

    with scratch_folder() as empty:
        build_report(empty)  # pandas' import
    times = [time.perf_counter()]
    for with_pictures in (False, True):
        found = gather_report(outputs)
        drawing = Drawing(found) if with_pictures else None
        judge(found)
        write_report(found, drawing)
        assert not found.problems, found.problems
        times.append(time.perf_counter())
    tables, whole = (after - before for before, after in pairwise(times))
    peak = peak_memory_bytes(torch.device("cpu")) / 1e9
    return {"tables": tables, "whole": whole, "peak": peak}


if __name__ == "__main__":
    main()
