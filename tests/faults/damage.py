"""Damage to files: what a disk, a copying tool or a person may do between two commands."""

import os
import random
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], None]


def flip(path: Path, rng: random.Random) -> None:
    """Flip one bit in place; the file's times stay, as they do where a disk forgets."""
    before = path.stat()
    contents = bytearray(path.read_bytes())
    if contents:
        contents[rng.randrange(len(contents))] ^= 1 << rng.randrange(8)
    with path.open("r+b") as file:
        file.write(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(1, max(2, path.stat().st_size)))


def empty(path: Path, rng: random.Random) -> None:
    os.truncate(path, 0)


def garbage(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(max(16, path.stat().st_size)))


def remove(path: Path, rng: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Damage] = {it.__name__: it for it in (flip, cut, empty, garbage, remove)}


def replace(path: Path, other: Path) -> None:
    """Put another file in a file's place, with the other's times, as `cp -p` does."""
    shutil.copy2(other, path)


def flip_in_largest(path: Path) -> None:
    """Flip a bit in the middle of the largest array of a checkpoint or an npz file."""
    with zipfile.ZipFile(path) as file:
        entry = max(file.infolist(), key=lambda it: it.file_size)
    before, contents = path.stat(), bytearray(path.read_bytes())
    names = contents[entry.header_offset + 26 : entry.header_offset + 30]
    start = entry.header_offset + 30 + sum(struct.unpack("<HH", names))
    contents[start + entry.file_size // 8 * 4 + 2] ^= 4
    path.write_bytes(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def change_bytes(path: Path, position: int, contents: bytes) -> None:
    """Write over a part of a file and keep its times."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(position)
        file.write(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_text(path: Path, pattern: str, new: str) -> None:
    """Change the first match of a regular expression, which there must be."""
    text, number = re.subn(pattern, new, path.read_text(), count=1)
    assert number == 1, f"no {pattern} in {path}"
    path.write_text(text)
