"""A whole cell as a user trains it, beside its steps alone and beside the naive design.

    python -m benchmarks.whole_cell --models resnet18 --methods semi --compile off

Steps alone and the naive design are those of benchmarks.end_to_end, for `--seconds` each in a
process of their own. Then the cell is trained by the command, in so many steps with so many
validations, and its record says where the seconds went; its output folder is new but for the
caches, which steps alone have warmed. `loop / steps` is how much longer the training loop took than
its steps alone would have. `before the first step` counts from Enter, with what it takes to leave
in the end. The GPU's utilisation is that of the loop. With `--repeats` in turn, and medians.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cells import (
    Trained,
    add_length_options,
    cell_words,
    figures,
    new_outputs,
    scratch_with_caches,
    shown,
    train,
)
from benchmarks.command import (
    add_cells_options,
    command_parser,
    names,
    print_rows,
)
from benchmarks.end_to_end import run_alone
from benchmarks.measure import interleave, spread

COMPILES = ("auto", "on", "off")
COLUMNS = ("cell", "compile", "kernels", "naive, img/s", "steps alone, img/s", "whole loop, img/s")
COLUMNS += ("steps alone, s", "loop, s", "loop / steps", "in steps, s", "in validations, s")
COLUMNS += ("in checkpoints, s", "before the first step, s", "evaluation, s", "GPU utilisation")


def main() -> None:
    arguments = parse_arguments()
    title = f"Whole cells of {arguments.steps} steps with {arguments.validations} validations"
    with scratch_with_caches(arguments) as scratch:
        try:
            print_rows(title, COLUMNS, measure_all(scratch, arguments), arguments)
        except (RuntimeError, ValueError) as error:
            sys.exit(str(error))


def parse_arguments() -> argparse.Namespace:
    from sslbench.machine.threads import available_cores

    parser = command_parser("whole_cell", __doc__)
    add_cells_options(parser)
    add_length_options(parser)
    parser.set_defaults(models=("resnet18",), methods=("semi",), workers=available_cores())
    parser.add_argument("--compile", type=names(COMPILES), default=("auto",), metavar="A,B")
    parser.add_argument("--no-naive", action="store_true", help="leave the naive design out")
    parser.add_argument("--seconds", type=float, default=10.0, help="of steps alone, and of naive")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.validations = 4, 2
        arguments.seconds, arguments.repeats = 0.2, 1
    return arguments


def measure_all(
    scratch: Path, arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for model in arguments.models:
        for method in arguments.methods:
            naive = None
            if not arguments.no_naive:
                naive = run_alone("naive", model, method, arguments)["images_per_s"]
            for way in arguments.compile:
                words = [*cell_words(model, method, arguments), f"compile={way}"]
                runs = measure(scratch, model, method, words, arguments)
                row = summarise(runs["steps"], runs["cell"], naive)
                kept = [figures(trained) for trained in runs["cell"]]
                raw = {"naive": naive, "steps": runs["steps"], "cells": kept}
                yield (f"{model} {method}", way, *row), raw


def measure(
    scratch: Path, model: str, method: str, words: list[str], arguments: argparse.Namespace
) -> dict[str, list[Any]]:
    """Measure a cell's steps alone and all of it, in turn."""
    alone = [*words, f"outputs={new_outputs(scratch)}"]
    of_steps = argparse.Namespace(**vars(arguments) | {"set": alone})
    return interleave(
        {
            "steps": partial(run_alone, "ours", model, method, of_steps),
            "cell": lambda: train(new_outputs(scratch), *words),
        },
        arguments.repeats,
    )


def summarise(
    steps: list[dict[str, Any]], cells: list[Trained], naive: float | None
) -> tuple[str, ...]:
    """Return a row's figures but for what it is of; medians."""
    runtimes = [record.runtime for trained in cells for record in trained.records]

    def part(name: str) -> float:
        return spread([runtime["seconds"][name] for runtime in runtimes]).median

    alone = spread([run["images_per_s"] for run in steps]).median
    whole = spread([runtime["images_per_second"] for runtime in runtimes]).median
    loop = spread([runtime["train_seconds"] for runtime in runtimes]).median
    outside = [
        trained.seconds - runtime["total_seconds"]
        for trained, runtime in zip(cells, runtimes, strict=True)
    ]
    faster = ["" if naive is None else f" (x{rate / naive:.1f})" for rate in (alone, whole)]
    busy = [trained.utilisation for trained in cells if trained.utilisation is not None]
    return (
        " and ".join(sorted({each["kernels"] for each in [*steps, *runtimes]})),
        *(shown(naive), f"{alone:.1f}{faster[0]}", f"{whole:.1f}{faster[1]}"),
        *(f"{loop * whole / alone:.1f}", f"{loop:.1f}", f"{alone / whole:.3f}"),
        *(f"{part(name):.1f}" for name in ("steps", "validation", "checkpoints")),
        *(f"{spread(outside).median + part('start'):.1f}", f"{part('evaluation'):.1f}"),
        shown(spread(busy).median if busy else None, ".0%"),
    )


if __name__ == "__main__":
    main()
