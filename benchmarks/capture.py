"""The captured step against the same step operation by operation, for every model and method.

    python -m benchmarks.capture --models wrn45_2

Milliseconds per step, and of the host for drawing its random numbers, interleaved medians; what
the host issues per step (kernels and graphs on a GPU, operators on a CPU) and how often it waits
for the device, by torch's profiler. On a GPU steps are also taken with synchronisation forbidden
(torch.cuda.set_sync_debug_mode), which raises where a step waits. Without a GPU the captured step
records nothing: it repeats the eager one, so the counts are those of the code that a graph would
hold, and the times mean nothing. A CPU's optimizer reads one number per parameter, its count of
steps; on a GPU that count stays on the device.
"""

import argparse
import json
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.command import (
    Table,
    add_cells_options,
    command_parser,
    data_overrides,
    print_tables,
)
from benchmarks.measure import interleave, run_module, spread, synchronize, time_steps

if TYPE_CHECKING:
    import torch

    from sslbench.config.settings import Settings
    from sslbench.engine.training import Training

NUM_COUNTED = 5
# What reads a device's number, or a shape that depends on one, and so waits for it.
HOST_READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select")


def main() -> None:
    parser = command_parser("capture", __doc__)
    add_cells_options(parser)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.seconds = 1, 0.1
    if arguments.part:
        print(json.dumps(compare(arguments.part.split(), arguments)))
        return
    runs = {
        f"{model} {method}": run_alone(f"{model} {method}", arguments)
        for model in arguments.models
        for method in arguments.methods
    }
    print_tables([tabulate(runs)], arguments, runs=runs)


def run_alone(cell: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = ["--part", cell, "--repeats", str(arguments.repeats)]
    words += ["--seconds", str(arguments.seconds), *["--quick"] * arguments.quick]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root)]
    return run_module("benchmarks.capture", *words)


def compare(words: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure both steps of a cell in this process, in turn."""
    from sslbench.config.compose import compose_settings

    model, method = words
    overrides = [f"model={model}", f"method={method}"]
    overrides += [*data_overrides(arguments.data_root)]
    if arguments.quick:
        overrides += ["method.batch_size=8"]
        overrides += ["method.unlabeled_batch_size=16"] * (method == "semi")
    settings = compose_settings(overrides)
    steps = {}
    for name in ("eager", "captured"):
        steps[name], training = build_step(settings, captured=name == "captured")
    device, numbers = training.device, count()
    steps["draw"] = lambda: training.feed.draw(next(numbers))

    def measure(name: str) -> float:
        pace = time_steps(steps[name], seconds=arguments.seconds, device=device)
        return 1e3 * pace.seconds / pace.steps

    times = interleave({name: lambda name=name: measure(name) for name in steps}, arguments.repeats)
    return {
        "device": device.type,
        "ms": times,
        "counts": {name: count_issued(steps[name], device) for name in ("eager", "captured")},
        "free_of_waits": is_free_of_waits(steps["captured"], device),
    }


def build_step(settings: "Settings", *, captured: bool) -> tuple[Callable[[], object], "Training"]:
    from sslbench.build import build
    from sslbench.engine.step import CapturedStep

    training = build(settings)
    training.method.train()
    take_step, numbers = training.take_step, count()
    if not captured and isinstance(take_step, CapturedStep):
        take_step = take_step.eager
    elif captured and not isinstance(take_step, CapturedStep):  # no GPU
        take_step = CapturedStep(take_step, training.device, lambda function: function)
    return lambda: take_step(next(numbers)), training


def count_issued(step: Callable[[], object], device: "torch.device") -> dict[str, float]:
    """Count launches, waits and host reads per step, as the host issues them."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    synchronize(device)
    with profile(activities=activities) as profiler:
        for _ in range(NUM_COUNTED):
            step()
    events = profiler.key_averages()

    def per_step(chosen: Callable[[str], bool]) -> float:
        return sum(event.count for event in events if chosen(event.key)) / NUM_COUNTED

    launches = "Launch" if device.type == "cuda" else "aten::"
    return {
        "launches": per_step(lambda key: launches in key),
        "waits": per_step(lambda key: key in ("cudaStreamSynchronize", "cudaMemcpy")),
        "host reads": per_step(lambda key: key in HOST_READS),
    }


def is_free_of_waits(step: Callable[[], object], device: "torch.device") -> bool | None:
    """Whether steps pass with synchronisation forbidden; None where nothing can forbid it."""
    if device.type != "cuda":
        return None
    import torch

    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(NUM_COUNTED):
            step()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return False
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return True


def tabulate(runs: dict[str, dict[str, Any]]) -> Table:
    rows = []
    for cell, run in runs.items():
        eager, captured, draw = (spread(it).median for it in run["ms"].values())
        free = run["free_of_waits"]
        rows.append(
            (
                cell,
                f"{eager:.2f}",
                f"{captured:.2f}",
                f"{draw:.3f}",
                f"x{eager / captured:.2f}",
                *(
                    " / ".join(f"{run['counts'][name][key]:.0f}" for name in ("eager", "captured"))
                    for key in ("launches", "waits", "host reads")
                ),
                "no GPU" if free is None else "yes" if free else "NO",
            )
        )
    on_gpu = any(run["device"] == "cuda" for run in runs.values())
    issued = "launches" if on_gpu else "operators"
    columns = ("cell", "eager, ms", "captured, ms", "drawing, ms", "ratio")
    columns += (
        f"{issued}, eager / captured",
        "waits",
        "host reads",
        "passes with waiting forbidden",
    )
    return Table(
        "The captured step" if on_gpu else "The captured step, not recorded", columns, rows
    )


if __name__ == "__main__":
    main()
