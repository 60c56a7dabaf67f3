"""Several cells on one GPU at a time, by time-slicing and by MPS, against one after the other.

    python -m benchmarks.sharing --models convnet --cells 1,3

Each row is a sweep over as many seeds as the most cells at a time, by the command. Without a GPU
its cells share the CPU. `steps/s` is the sum over the cells that run at a time. A GPU's utilisation
is that of the cells' loops.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cells import (
    NOT_MEASURED,
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
    numbers,
    print_rows,
)
from benchmarks.measure import spread

MPS_CONTROL = "nvidia-cuda-mps-control"
COLUMNS = ("cells", "at a time", "sharing", "all of them, s", "against the first row")
COLUMNS += ("loop of one, s", "steps/s", "start of one, s", "GPU utilisation")


def main() -> None:
    parser = command_parser("sharing", __doc__)
    add_cells_options(parser)
    add_length_options(parser)
    parser.set_defaults(models=("convnet",), methods=("semi",))
    parser.add_argument("--cells", type=numbers, default=(1, 3), metavar="A,B", help="at a time")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.validations, arguments.cells = 4, 2, (1, 2)
    title = f"{max(arguments.cells)} cells of {arguments.steps} steps each"
    with scratch_with_caches(arguments) as scratch:
        try:
            print_rows(title, COLUMNS, measure_all(scratch, arguments), arguments)
        except (RuntimeError, ValueError) as error:
            sys.exit(str(error))


def measure_all(
    scratch: Path, arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, ...], Any]]:
    seeds = ",".join(map(str, range(max(arguments.cells))))
    for model in arguments.models:
        for method in arguments.methods:
            words = ["-m", *cell_words(model, method, arguments), f"seed={seeds}"]
            first = None
            for number in arguments.cells:
                for way in ways(number):
                    trained = train(new_outputs(scratch), *words, *side_by_side(number, way))
                    first = first or trained.seconds
                    row = summarise(trained, number, first)
                    yield (
                        (f"{model} {method}", str(number), way or NOT_MEASURED, *row),
                        figures(trained),
                    )


def ways(number: int) -> list[str | None]:
    """Return the ways in which so many cells can share what there is."""
    from sslbench.machine.hardware import num_gpus

    if number == 1 or num_gpus() == 0:
        return [None]
    return ["none", "mps"] if shutil.which(MPS_CONTROL) else ["none"]


def side_by_side(number: int, way: str | None) -> list[str]:
    """Return the settings of a sweep with so many cells at a time."""
    if number == 1:
        return []
    words = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={number}"]
    return [*words, f"cells_per_device={number}", *([f"gpu_sharing={way}"] if way else [])]


def summarise(trained: Trained, number: int, first: float) -> tuple[str, ...]:
    """Return a row's figures but for what it is of."""
    loops = [record.runtime["train_seconds"] for record in trained.records]
    steps = [record.results["steps"] for record in trained.records]
    paces = [each / loop for each, loop in zip(steps, loops, strict=True)]
    starts = [record.runtime["seconds"]["start"] for record in trained.records]
    return (
        *(f"{trained.seconds:.1f}", f"x{first / trained.seconds:.2f}"),
        *(f"{spread(loops).median:.1f}", f"{number * spread(paces).median:.1f}"),
        *(f"{spread(starts).median:.1f}", shown(trained.utilisation, ".0%")),
    )


if __name__ == "__main__":
    main()
