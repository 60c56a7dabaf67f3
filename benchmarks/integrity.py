"""What trust costs: hashing the images, checking checkpoints, looking at finished cells.

    python -m benchmarks.integrity --gigabytes 3

Each pair is measured in turn in one process; the file of images is in the page cache.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from benchmarks.command import Table, command_parser, print_tables, scratch_folder
from benchmarks.measure import interleave, spread
from sslbench.cell import checkpoint
from sslbench.cell.checkpoint_writer import CheckpointWriter
from sslbench.config.compose import compose_settings
from sslbench.data.content import read_content
from sslbench.data.layout import IMAGE_BYTES
from sslbench.files import checksums
from sslbench.files.atomic import replace_file


def main() -> None:
    parser = command_parser("integrity", __doc__)
    parser.add_argument("--gigabytes", type=float, default=3.0, help="of images")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.gigabytes, arguments.repeats = 0.01, 1
    with scratch_folder() as folder:
        tables = [hashing(folder, arguments), checkpoints(folder, arguments)]
    print_tables(tables, arguments)


def hashing(folder: Path, arguments: argparse.Namespace) -> Table:
    """Hash a file of images once, and again when it has not been touched."""
    path = folder / "unlabeled_X.bin"
    block = os.urandom(1000 * IMAGE_BYTES)
    with path.open("wb") as file:
        for _ in range(max(1, round(arguments.gigabytes * 1e9 / len(block)))):
            file.write(block)
    path.read_bytes()  # into the page cache
    time.sleep(checksums.SETTLED_NS / 1e9)  # a file that was just written is not remembered
    rows = []
    for number in range(arguments.repeats):
        memory = folder / f"memory-{number}"
        seconds = [_timed(partial(read_content, path, IMAGE_BYTES, memory)) for _ in range(2)]
        rows.append(seconds)
    once, again = (spread(list(column)) for column in zip(*rows, strict=True))
    gigabytes = path.stat().st_size / 1e9
    path.unlink()
    return Table(
        f"Hashing {gigabytes:.1f} GB of images",
        ("", "seconds", "GB/s"),
        [
            ("once", f"{once.median:.2f}", f"{gigabytes / once.median:.1f}"),
            ("again, remembered", f"{again.median:.4f}", ""),
        ],
    )


def checkpoints(folder: Path, arguments: argparse.Namespace) -> Table:
    """Save and load checkpoints of each model, with and without what makes them trustworthy."""
    rows = []
    for model in ("convnet", "resnet18", "wrn45_2"):
        encoder = compose_settings([f"model={model}"]).model.build()
        weights = encoder.state_dict()
        best, *moments = ({name: it.clone() for name, it in weights.items()} for _ in range(3))
        state = {"method": weights, "optimizer": moments}
        own = state | {"cell": "mine", "step": 1, "best": {"method": best}}
        path, plain, before = (folder / f"{model}-{name}.pt" for name in ("own", "plain", "before"))
        with ThreadPoolExecutor(1) as thread:
            writer = CheckpointWriter(folder, thread)
            fixed = {name: it for name, it in own.items() if name not in state}
            writer.write(state, fixed)  # the first takes the memory that the others copy to

            waits = []
            for _ in range(arguments.repeats):
                writer.wait()
                waits.append(_timed(partial(writer.write, state, fixed)))
            waited = spread(waits).median * 1e3
        measured = interleave(
            {
                "save": lambda path=path, own=own, before=before: _timed(
                    lambda: checkpoint.save(path, own, keep_as=before)
                ),
                "save plainly": lambda plain=plain, state=state: _timed(
                    lambda: replace_file(plain, lambda file: torch.save(state, file))
                ),
                "load": lambda path=path: _timed(lambda: checkpoint.load_own(path, "mine")),
                "load plainly": lambda plain=plain: _timed(
                    lambda: torch.load(plain, map_location="cpu", weights_only=True)
                ),
            },
            arguments.repeats,
        )
        medians = {name: spread(values).median * 1e3 for name, values in measured.items()}
        size = path.stat().st_size / 1e6
        shown = (f"{medians[name]:.0f}" for name in measured)
        rows.append((model, f"{size:.0f} MB", f"{waited:.0f}", *shown))
    columns = ("model", "size", "training waits, ms", "save, ms", "without, ms", "load, ms")
    columns += ("without, ms",)
    title = "Checkpoints that hold the best weights, are kept twice and are checked when loaded"
    return Table(title, columns, rows)


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
