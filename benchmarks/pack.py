"""Done cells in a few small files: records, curves and embeddings, without weights.

    python -m benchmarks.pack outputs FOLDER             # writes FOLDER/cells-1.tar.xz and so on
    python -m benchmarks.pack --unpack FOLDER outputs    # makes an output folder of them

A pack holds files as the cells wrote them, what every cell has small first. Where there is no room
for all embeddings, snapshots and those of the test images are left out before those of the
validation images; `--unpack` does with what there is. An unpacked record vouches for the files that
came along, and a note, which the report shows, names the others. So the cell counts as done.
"""

import argparse
import lzma
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from sslbench.cell.folder import PLANNED, CellFolder, cells_folder
from sslbench.cell.record import DONE, RECORD, SETTINGS, Record, load_record
from sslbench.cell.soundness import flaws_of
from sslbench.files.atomic import replace_file
from sslbench.machine.threads import available_cores

PARTS = "cells-{}.tar.xz"
PACKED = (RECORD, SETTINGS, "metrics.jsonl", "card.md")
PACKED += ("embeddings-val.npz", "embeddings-test.npz", "snapshot-*.npz")
"""In the order in which they find room."""
NUM_PARTS, PART_BYTES, ALL_BYTES = 7, 15_000_000, 66_000_000
FASTEST = 1
"""Of xz's presets: a sixth larger than the default on embeddings, and eight times as fast."""
END = lzma.compress(bytes(2 * tarfile.BLOCKSIZE), preset=FASTEST)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--unpack", action="store_true")
    parser.add_argument(
        "--to-go-on",
        action="store_true",
        help="leave out cells of Barlow Twins from which none starts here: a cell that is still to "
        "do needs their weights, so they are trained again",
    )
    arguments = parser.parse_args()
    try:
        if arguments.unpack:
            print(unpack(arguments.source, arguments.target, to_go_on=arguments.to_go_on))
        else:
            print("\n".join(pack(arguments.source, arguments.target)))
    except ValueError as error:
        sys.exit(str(error))


def pack(
    outputs: Path,
    folder: Path,
    *,
    num_parts: int = NUM_PARTS,
    part_bytes: int = PART_BYTES,
    all_bytes: int = ALL_BYTES,
) -> list[str]:
    """Write the done cells below `outputs` to files in `folder`; say what is in them, what is not.

    Args:
        num_parts: How many files there may be.
        part_bytes: Of each file at most.
        all_bytes: Of all files together at most.
    """
    folders = sorted(cells_folder(outputs).glob("*/"))
    done = [path for path in folders if is_sound(CellFolder(outputs, path.name))]
    paths = [path for pattern in PACKED for cell in done for path in sorted(cell.glob(pattern))]
    parts: list[list[bytes]] = [[] for _ in range(num_parts)]
    sizes, no_room = [len(END)] * num_parts, []
    with ThreadPoolExecutor(available_cores()) as pool:  # compression frees Python's lock
        for path, stream in zip(paths, pool.map(compress, paths), strict=True):
            fits = [n for n in range(num_parts) if sizes[n] + len(stream) <= part_bytes]
            if not fits or sum(sizes) + len(stream) > all_bytes:
                no_room.append(path)
                continue
            parts[fits[0]].append(stream)
            sizes[fits[0]] += len(stream)
    write_parts(folder, [part for part in parts if part])
    used = [size for size, part in zip(sizes, parts, strict=True) if part]
    lines = [f"{len(done)} done cells in {len(used)} files, {sum(used) / 1e6:.1f} MB"]
    if no_room:
        first = f"{no_room[0].parent.name}/{no_room[0].name}"
        lines.append(f"no room for {len(no_room)} files, such as {first}")
    others = [CellFolder(outputs, path.name) for path in folders if path not in done]
    lines += [f"not packed: {it.cell_id}, {it.state()}" for it in others if it.state() != PLANNED]
    return lines


def is_sound(folder: CellFolder) -> bool:
    """Whether a cell is done, and its files are as they were then."""
    record = folder.readable_record()
    return record is not None and record.status == DONE and not flaws_of(folder.path, record)


def compress(path: Path) -> bytes:
    """Return a cell's file as a piece of a tar archive, in a stream of xz of its own.

    Such streams one after the other, with `END`, are an archive: so sizes are known beforehand.
    """
    data = path.read_bytes()
    entry = tarfile.TarInfo(f"{path.parent.name}/{path.name}")
    entry.size, entry.mtime = len(data), int(path.stat().st_mtime)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    return lzma.compress(entry.tobuf() + data + padding, preset=FASTEST)


def write_parts(folder: Path, parts: list[list[bytes]]) -> None:
    """Write archives, and delete those of an earlier pack that had more."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, streams in enumerate(parts, 1):
        path = folder / PARTS.format(number)
        replace_file(path, lambda file, streams=streams: file.writelines([*streams, END]))
    kept = {PARTS.format(number) for number in range(1, len(parts) + 1)}
    for path in folder.glob(PARTS.format("*")):
        if path.name not in kept:
            path.unlink()


def unpack(folder: Path, outputs: Path, *, to_go_on: bool = False) -> str:
    """Make an output folder of a pack, and say how many cells are there.

    Raises:
        ValueError: If there are cells below `outputs`, or no pack is in `folder`.
    """
    below, first = cells_folder(outputs), folder / PARTS.format(1)
    if below.exists():
        raise ValueError(f"{below}: is there already; name a new output folder, or delete it")
    if not first.is_file():
        raise ValueError(f"{first}: there is no such file, and it holds the records")
    outputs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=outputs) as made:
        cells = Path(made) / below.name
        for part in sorted(folder.glob(PARTS.format("*"))):
            with tarfile.open(part, "r:xz") as archive:
                archive.extractall(cells, filter="data")
        records = [*take_stock(cells)]
        starts = {record.settings["init"]["from"] for record in records}
        for record in records if to_go_on else ():
            if record.settings["method"]["name"] == "barlow" and record.cell not in starts:
                (cells / record.cell).rename(Path(made) / record.cell)
        cells.rename(below)
    return f"{len(list(below.iterdir()))} cells unpacked to {below}, without their weights"


def take_stock(cells: Path) -> Iterator[Record]:
    """Have each record vouch for the files that are there, with a note on the others; yield it."""
    for path in sorted(cells.iterdir()):
        record = load_record(path)
        assert record is not None, f"{path}: no record, though those are packed first"
        gone = sorted(name for name in record.files if not (path / name).is_file())
        if gone:
            record.files = {name: it for name, it in record.files.items() if name not in gone}
            record.notes.append(f"unpacked without {', '.join(gone)}")
            record.save(path)
        yield record


if __name__ == "__main__":
    main()
