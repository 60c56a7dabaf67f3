"""The same bits: a cell trained twice, and one that was killed and went on.

    python -m benchmarks.bits --models convnet,resnet18 --methods semi --compile off,on

Compared are the results, a digest of the weights among them, and the curves. The third one's
process gets a SIGKILL in mid-training, past its first checkpoint, and the same command goes on.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cells import (
    add_length_options,
    cell_words,
    command,
    new_outputs,
    scratch_with_caches,
    train,
)
from benchmarks.command import (
    add_cells_options,
    command_parser,
    names,
    print_rows,
)
from benchmarks.measure import ROOT
from benchmarks.whole_cell import COMPILES

CURVES = "cells/*/metrics.jsonl"
COLUMNS = ("cell", "compile", "trained twice", "killed and gone on", "killed after step")
LOG_EVERY, POLL_SECONDS = 5, 0.002


def main() -> None:
    parser = command_parser("bits", __doc__)
    add_cells_options(parser)
    add_length_options(parser)
    parser.set_defaults(models=("convnet",), methods=("semi",), steps=300, validations=6)
    parser.add_argument("--compile", type=names(COMPILES), default=("auto",), metavar="A,B")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.validations = 20, 4
    title = f"The same bits, after {arguments.steps} steps"
    with scratch_with_caches(arguments) as scratch:
        try:
            print_rows(title, COLUMNS, compare_all(scratch, arguments), arguments)
        except (RuntimeError, ValueError) as error:
            sys.exit(str(error))


def compare_all(
    scratch: Path, arguments: argparse.Namespace
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for model in arguments.models:
        for method in arguments.methods:
            for way in arguments.compile:
                words = [*cell_words(model, method, arguments), f"compile={way}"]
                words += [f"log_every={LOG_EVERY}"]
                once, again, stopped = (new_outputs(scratch) for _ in range(3))
                killed_after = kill_midway(stopped, words, arguments.steps)
                found = [train_to_the_end(outputs, words) for outputs in (once, again, stopped)]
                same = [found[0] == other for other in found[1:]]
                said = ["the same bits" if each else "OTHER BITS" for each in same]
                raw = {"same": same, "killed_after": killed_after, "results": found}
                yield (f"{model} {method}", way, *said, str(killed_after)), raw


def train_to_the_end(outputs: Path, words: list[str]) -> dict[str, Any]:
    """Train a cell, or go on with it, and return all that is a function of its settings."""
    (record,) = train(outputs, *words).records
    (curves,) = outputs.glob(CURVES)
    points = [json.loads(line) for line in curves.read_text().splitlines()]
    return record.results | {"curves": [point | {"seconds": None} for point in points]}


def kill_midway(outputs: Path, words: list[str], steps: int) -> int:
    """Begin a cell, kill its process after more than half of its steps, and return the step.

    Raises:
        RuntimeError: If it ended before.
    """
    process = subprocess.Popen(
        command(outputs, *words),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while last_step(outputs) < 0.6 * steps:
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(words)}: it ended before it could be killed")
        time.sleep(POLL_SECONDS)
    process.kill()
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"{' '.join(words)}: it ended before it was killed: give more --steps")
    return last_step(outputs)


def last_step(outputs: Path) -> int:
    """Return the last step that a cell's curves tell of, 0 if none; a torn line counts for none."""
    for curves in outputs.glob(CURVES):
        lines = curves.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        return json.loads(whole[-1])["step"] if whole else 0
    return 0


if __name__ == "__main__":
    main()
