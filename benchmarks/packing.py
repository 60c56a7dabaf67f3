"""How fast one's own images are packed, beside a loop over PIL in one process.

    python -m benchmarks.packing --images FOLDER --side 96

Packing hashes each file and each packed image, too: that tells a set from others. The loop opens
each file, converts it to RGB, resizes and crops it, and writes its pixels: what everybody writes.
Both take the same images, some thousand at a time in turn, so that whatever else
the machine does meets both alike; images per second are read as ratios.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.command import Table, command_parser, print_tables, scratch_folder
from benchmarks.measure import spread
from sslbench.data.content import hash_pieces, read_digests
from sslbench.data.packing import Items, pack_images
from sslbench.machine.threads import OF_THIS_PROCESS, allowed_threads

IN_TURN = 50_000
QUICK_IMAGES = 20
NOISE = (320, 240)
"""Size of the images that are drawn where none are given."""


def main() -> None:
    parser = command_parser("packing", __doc__)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of JPEGs, in any folders")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--threads", type=int, nargs="+", default=[allowed_threads()])
    arguments = parser.parse_args()
    with scratch_folder() as folder:
        paths = sorted((arguments.images or _draw(folder / "drawn")).rglob("*.jpg"))
        paths = paths[:QUICK_IMAGES] if arguments.quick else paths
        rounds = list(_measure(paths, folder, arguments))
        print_tables([_table(paths, rounds, arguments)], arguments, seconds=rounds)


def _measure(
    paths: list[Path], folder: Path, arguments: argparse.Namespace
) -> Iterator[tuple[int, float, list[float]]]:
    """Yield a number of images, and the seconds that PIL's loop and packing by threads took."""
    side = arguments.side
    for start in range(0, len(paths), IN_TURN):
        part = paths[start : start + IN_TURN]
        for path in part:
            path.read_bytes()  # into the page cache
        loops, packing = folder / "loop", []
        looping = _seconds(lambda part=part, loops=loops: _loop(part, side, loops))
        size = loops.stat().st_size
        loops.unlink()  # or the disk would write it meanwhile
        for threads in arguments.threads:
            os.environ[OF_THIS_PROCESS] = str(threads)
            with scratch_folder() as ours:
                target = ours / "train_X.bin"
                packing.append(_seconds(lambda part=part, it=target: _pack(part, side, it)))
                assert target.stat().st_size == size
        yield len(part), looping, packing


def _pack(paths: list[Path], side: int, target: Path) -> None:
    read_digests(Path("/"), [str(path.absolute()) for path in paths], target.parent / "memory")
    items = Items([str(path) for path in paths], None, lambda start, stop: paths[start:stop])
    broken = pack_images(items, side, target)
    assert not broken, broken
    hash_pieces(target, 3 * side**2)


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
    paths: list[Path], rounds: list[tuple[int, float, list[float]]], arguments: argparse.Namespace
) -> Table:
    def rate(seconds: list[float]) -> str:
        numbers = [number for number, *_ in rounds]
        return f"{spread([n / s for n, s in zip(numbers, seconds, strict=True)]).median:,.0f}"

    loops, rows = [seconds for _, seconds, _ in rounds], []
    for column, threads in enumerate(arguments.threads):
        ours = [packing[column] for *_, packing in rounds]
        ratio = spread([loop / mine for loop, mine in zip(loops, ours, strict=True)])
        shown = f"{ratio.median:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})"
        rows.append((str(threads), rate(ours), rate(loops), shown))
    size = Image.open(paths[0]).size
    return Table(
        f"{len(paths):,} JPEGs of {size[0]}x{size[1]} at {arguments.side} pixels",
        ("threads", "packed, images/s", "PIL's loop, images/s", "packed : loop (quartiles)"),
        rows,
    )


if __name__ == "__main__":
    main()
