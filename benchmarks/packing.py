"""How fast one's own images are packed, beside a loop over PIL in one process.

    python -m benchmarks.packing --images FOLDER --side 96

The loop opens each file, converts it to RGB, resizes and crops it, and writes its pixels: what
everybody writes. Both take the same images, some thousand at a time in turn, so that whatever else
the machine does meets both alike; images per second are read as ratios.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.command import Table, command_parser, print_tables, scratch_folder
from benchmarks.measure import spread
from sslbench.data.packing import Items, pack_images
from sslbench.machine.threads import allowed_threads

IN_TURN = 5000
QUICK_IMAGES = 20
NOISE = (320, 240)
"""Size of the images that are drawn where none are given."""


def main() -> None:
    parser = command_parser("packing", __doc__)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of JPEGs, in any folders")
    parser.add_argument("--side", type=int, default=96)
    arguments = parser.parse_args()
    with scratch_folder() as folder:
        paths = sorted((arguments.images or _draw(folder / "drawn")).rglob("*.jpg"))
        paths = paths[:QUICK_IMAGES] if arguments.quick else paths
        rounds = list(_measure(paths, folder, arguments.side))
        print_tables([_table(paths, rounds, arguments)], arguments, seconds=rounds)


def _measure(paths: list[Path], folder: Path, side: int) -> Iterator[tuple[int, float, float]]:
    """Yield how many images were packed, in how many seconds, and how many PIL's loop took."""
    for start in range(0, len(paths), IN_TURN):
        part = paths[start : start + IN_TURN]
        for path in part:
            path.read_bytes()  # into the page cache
        ours, loops = folder / f"{start}.bin", folder / f"{start}.loop"
        packing = _seconds(lambda part=part, ours=ours: _pack(part, side, ours))
        looping = _seconds(lambda part=part, loops=loops: _loop(part, side, loops))
        assert ours.stat().st_size == loops.stat().st_size
        ours.unlink()
        loops.unlink()
        yield len(part), packing, looping


def _pack(paths: list[Path], side: int, target: Path) -> None:
    items = Items([str(path) for path in paths], None, lambda start, stop: paths[start:stop])
    broken = pack_images(items, side, target)
    assert not broken, broken


def _loop(paths: list[Path], side: int, target: Path) -> None:
    with target.open("wb") as file:
        for path in paths:
            image = ImageOps.fit(
                Image.open(path).convert("RGB"), (side, side), Image.Resampling.BICUBIC
            )
            file.write(np.ascontiguousarray(np.asarray(image).transpose(2, 1, 0)).data)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _draw(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(QUICK_IMAGES):
        pixels = rng.integers(0, 256, (NOISE[1], NOISE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    return folder


def _table(
    paths: list[Path], rounds: list[tuple[int, float, float]], arguments: argparse.Namespace
) -> Table:
    ratios = spread([looping / packing for _, packing, looping in rounds])
    ours, loops = (spread([each[0] / each[column] for each in rounds]).median for column in (1, 2))
    size, threads = Image.open(paths[0]).size, allowed_threads()
    return Table(
        f"{len(paths):,} JPEGs of {size[0]}x{size[1]} at {arguments.side} pixels, "
        f"{threads} threads",
        ("packed, images/s", "PIL's loop, images/s", "packed : loop, median (quartiles)"),
        [
            (
                f"{ours:,.0f}",
                f"{loops:,.0f}",
                f"{ratios.median:.2f} ({ratios.lower:.2f} to {ratios.upper:.2f})",
            )
        ],
    )


if __name__ == "__main__":
    main()
