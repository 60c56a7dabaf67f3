"""What `bn_statistics` makes of one training: its weights validated in each way, now and again.

    python -m benchmarks.bn_statistics --data-root DIR --models wrn45_2 --steps 240

Training is the same whichever way is set, so that one run shows all of them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cells import add_length_options, cell_words, new_outputs, scratch_with_caches
from benchmarks.command import add_cells_options, command_parser, print_rows

WAYS = ("running", "reestimated", "batch")
COLUMNS = (
    "cell",
    "step",
    "train accuracy (loss)",
    *(f"{way}, val accuracy (loss)" for way in WAYS),
)


def main() -> None:
    parser = command_parser("bn_statistics", __doc__)
    add_cells_options(parser)
    add_length_options(parser)
    parser.set_defaults(models=("wrn45_2",), methods=("supervised",), steps=240, validations=6)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.validations = 2, 1
    title = f"One training of {arguments.steps} steps, validated in three ways"
    with scratch_with_caches(arguments) as scratch:
        try:
            print_rows(title, COLUMNS, measure_all(scratch, arguments), arguments)
        except ValueError as error:
            sys.exit(str(error))


def measure_all(
    scratch: Path, arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for model in arguments.models:
        for method in arguments.methods:
            words = [*cell_words(model, method, arguments), f"outputs={new_outputs(scratch)}"]
            for figures in measure(words):
                figures |= {"cell": f"{model} {method}"}
                shown = [f"{it['accuracy']:.2%} ({it['loss']:.3g})" for it in figures["ways"]]
                train = f"{figures['accuracy']:.2%} " if "accuracy" in figures else ""
                seen = f"{train}({figures['loss']:.3g})"
                yield (figures["cell"], str(figures["step"]), seen, *shown), figures


def measure(words: list[str]) -> Iterator[dict[str, Any]]:
    """Train a cell and yield, at each validation, train means and the validation of each way."""
    from dataclasses import replace

    import torch

    from sslbench.build import build
    from sslbench.config.compose import compose_settings
    from sslbench.engine.means import EPOCH
    from sslbench.evaluate.validation import Validation
    from sslbench.randomness import derive_seed
    from sslbench.sweep.preflight import Preflight

    settings = Preflight().make_concrete(compose_settings(words))
    training = build(settings)
    by_way = [replace(training, settings=replace(settings, bn_statistics=way)) for way in WAYS]
    validations = [Validation(each) for each in by_way]
    training.method.train()
    for step in range(training.schedule.total_steps):
        torch.manual_seed(derive_seed(settings.seed, "dropout", step))
        training.take_step(step)
        if training.schedule.evaluates_after(step + 1):
            means, _ = training.tally.take(EPOCH)
            yield {"step": step + 1, **means, "ways": [validate(means) for validate in validations]}
            training.method.train()


if __name__ == "__main__":
    main()
