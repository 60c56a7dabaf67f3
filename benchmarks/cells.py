"""Cells trained as a user trains them: by the command, read back from their records."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.command import data_overrides, scratch_folder
from benchmarks.measure import ROOT
from benchmarks.utilisation import mean_during, sampled_utilisation

if TYPE_CHECKING:
    from sslbench.cell.record import Record

NOT_MEASURED = "-"


class Trained(NamedTuple):
    """What a command left: its cells' records, its seconds, how busy the GPU was in their loops."""

    records: "list[Record]"
    seconds: float
    utilisation: float | None


def add_length_options(parser: argparse.ArgumentParser) -> None:
    """Add how long a cell is, and further settings."""
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--validations", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="share the caches there")


def cell_words(model: str, method: str, arguments: argparse.Namespace) -> list[str]:
    """Return the settings of a cell of so many steps with so many validations.

    Raises:
        ValueError: If a setting is not known, or out of its range.
    """
    from sslbench.config.compose import compose_settings
    from sslbench.sweep.preflight import Preflight

    words = [f"model={model}", f"method={method}", f"steps={arguments.steps}"]
    words += data_overrides(arguments.data_root)
    if arguments.quick:
        words += ["method.batch_size=8"]
        words += ["method.unlabeled_batch_size=16"] * (method == "semi")
    words += arguments.set
    steps_per_epoch = Preflight().schedule(compose_settings(words)).steps_per_epoch
    interval = arguments.steps / arguments.validations
    return [*words, f"method.eval_every={interval / steps_per_epoch}"]


@contextmanager
def scratch_with_caches(arguments: argparse.Namespace) -> Iterator[Path]:
    """Yield a folder for `new_outputs` that is removed afterwards, with the caches of `--cache`."""
    with scratch_folder() as scratch:
        if arguments.cache is None:
            (scratch / "cache").mkdir()
        else:
            arguments.cache.mkdir(parents=True, exist_ok=True)
            (scratch / "cache").symlink_to(arguments.cache.resolve())
        yield scratch


def new_outputs(scratch: Path) -> Path:
    """Return a new output folder; all in one scratch folder share their caches.

    Cells that differ in how they run alone have one id, so each needs a folder of its own.
    """
    outputs = Path(tempfile.mkdtemp(dir=scratch))
    (outputs / "cache").symlink_to(scratch / "cache")
    return outputs


def command(outputs: Path, *words: str) -> list[str]:
    """Return the command that trains below `outputs`."""
    return [sys.executable, "-m", "sslbench.train", *words, f"outputs={outputs}"]


def train(outputs: Path, *words: str) -> Trained:
    """Run a command that trains to its end.

    Raises:
        RuntimeError: If it failed; with the end of what it wrote.
    """
    began = time.perf_counter()
    with sampled_utilisation() as samples:
        done = subprocess.run(command(outputs, *words), cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(command(outputs, *words))} failed:\n{said}")
    records = read_records(outputs)
    return Trained(records, seconds, mean_during(samples, [*map(loop_span, records)]))


def read_records(outputs: Path) -> "list[Record]":
    """Return the records of all cells below `outputs`, by id."""
    from sslbench.cell.folder import cells_folder
    from sslbench.cell.record import load_record

    found = [load_record(path) for path in sorted(cells_folder(outputs).glob("*/"))]
    return [record for record in found if record is not None]


def loop_span(record: "Record") -> tuple[float, float]:
    """Return when a cell's training loop began and ended, within a second, since the epoch."""
    began = datetime.fromisoformat(record.runtime["started"]).timestamp()
    began += record.runtime["seconds"]["start"]
    return began, began + record.runtime["train_seconds"]


def shown(value: float | None, form: str = ".1f") -> str:
    """Write a figure, or that there is none."""
    return NOT_MEASURED if value is None else format(value, form)


def figures(trained: Trained) -> dict[str, Any]:
    """Return what was measured, for JSON."""
    runtimes = {record.cell: record.runtime for record in trained.records}
    return trained._asdict() | {"records": runtimes}
