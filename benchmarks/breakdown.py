"""Where the time of a training step goes, for every model and method.

    python -m benchmarks.breakdown --models wrn45_2

Milliseconds and shares of a step by kind of work, on the processor: convolutions, batch
normalisation (WRN-45-2's with the activation after it), activations and additions, what else the
networks and losses do, augmentation, optimizer. Operations are timed one by one where torch
dispatches them, after a few steps that are not counted; medians over steps, of one process per
cell.
"""

import argparse
import json
import time
from collections import defaultdict
from statistics import median
from typing import Any

from benchmarks.command import (
    Table,
    add_cells_options,
    command_parser,
    data_overrides,
    print_tables,
)
from benchmarks.measure import run_module

KINDS = (
    "augmentation",
    "convolution, forward",
    "convolution, backward",
    "batch norm, forward",
    "batch norm, backward",
    "activation and addition",
    "other",
    "optimizer",
)
OPERATIONS = {
    **dict.fromkeys(("convolution", "conv3x3"), "convolution, forward"),
    **dict.fromkeys(
        (
            "convolution_backward",
            "conv3x3_backward_images",
            "conv3x3_backward_weight",
            "conv3x3_filter_products",
        ),
        "convolution, backward",
    ),
    **dict.fromkeys(("native_batch_norm", "batch_norm_act"), "batch norm, forward"),
    **dict.fromkeys(
        ("native_batch_norm_backward", "batch_norm_act_backward"), "batch norm, backward"
    ),
    **dict.fromkeys(
        ("relu", "relu_", "leaky_relu", "leaky_relu_", "add", "add_"), "activation and addition"
    ),
    **dict.fromkeys(("threshold_backward", "leaky_relu_backward"), "activation and addition"),
}
NUM_WARM_UP = 3


def main() -> None:
    parser = command_parser("breakdown", __doc__)
    add_cells_options(parser)
    parser.add_argument("--steps", type=int, default=5, help="that are counted")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps = 1
        arguments.models, arguments.methods = arguments.models[:1], arguments.methods[:1]
    if arguments.part:
        print(json.dumps(measure(arguments.part.split(), arguments)))
        return
    cells = [f"{model} {method}" for model in arguments.models for method in arguments.methods]
    runs = {cell: run_alone(cell, arguments) for cell in cells}
    print_tables([tabulate(runs)], arguments, runs=runs)


def run_alone(cell: str, arguments: argparse.Namespace) -> dict[str, float]:
    words = ["--part", cell, "--steps", str(arguments.steps)]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root)]
    return run_module("benchmarks.breakdown", *words, *["--quick"] * arguments.quick)


def measure(words: list[str], arguments: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of each kind in a step of `model method`, and of the `step`."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from sslbench.build import build_parts
    from sslbench.config.presets import compose_settings
    from sslbench.engine.device import autocast

    class TimeOperations(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
        ) -> Any:
            began = time.perf_counter()
            result = function(*args, **(kwargs or {}))
            name = function.overloadpacket.__name__
            seconds[OPERATIONS.get(name, "other")] += time.perf_counter() - began
            return result

    model, method_name = words
    overrides = [f"model={model}", f"method={method_name}", "device=cpu"]
    overrides += data_overrides(arguments.data_root)
    overrides += ["method.batch_size=8"] * arguments.quick
    parts = build_parts(compose_settings(overrides))
    method, optimizer = parts.method.train(), parts.optimizer
    in_precision = autocast(parts.precision, parts.device)
    counted: list[dict[str, float]] = []
    for step in range(NUM_WARM_UP + arguments.steps):
        seconds: dict[str, float] = defaultdict(float)
        draw = parts.feed.to_device(parts.feed.draw(step))
        began = time.perf_counter()
        batch = parts.feed.assemble(draw)
        assembled = time.perf_counter()
        with TimeOperations():
            with in_precision():
                loss, _ = method(batch)
            loss.backward()
        learned = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ended = time.perf_counter()
        seconds["augmentation"] = assembled - began
        seconds["optimizer"] = ended - learned
        seconds["step"] = ended - began
        counted.append(seconds)
    counted = counted[NUM_WARM_UP:]
    return {kind: median(step[kind] for step in counted) for kind in (*KINDS, "step")}


def tabulate(runs: dict[str, dict[str, float]]) -> Table:
    rows = []
    for kind in KINDS:
        cells = (f"{1e3 * run[kind]:.0f} ({run[kind] / run['step']:.0%})" for run in runs.values())
        rows.append((kind, *cells))
    rows.append(("step", *(f"{1e3 * run['step']:.0f}" for run in runs.values())))
    return Table("Milliseconds of a step (share)", ("kind of work", *runs), rows)


if __name__ == "__main__":
    main()
