"""Reading files that others wrote: by their size first, so that none fills the memory."""

import os
import stat
from pathlib import Path

MIB = 2**20
PIECE = 2**16


def read_small(path: Path, limit: int = 16 * MIB) -> bytes:
    """Return a file's bytes, refusing what cannot be what it is taken for.

    Raises:
        ValueError: If it is larger than `limit` bytes, or no plain file, such as a pipe.
        OSError: If it is missing or cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # waits for no pipe's writer
    try:
        size = _require_small(path, os.fstat(file), limit)
        contents = os.read(file, size + 1)
        while more := os.read(file, min(PIECE, limit + 1 - len(contents))):  # it grows meanwhile
            contents += more
    finally:
        os.close(file)
    if len(contents) > limit:
        raise ValueError(f"{path}: grows while it is read; expected at most {limit:,} bytes")
    return contents


def require_small(path: Path, limit: int) -> int:
    """Return a file's size in bytes, refusing one that is too large, or that would never end.

    Raises:
        ValueError: If it is larger than `limit` bytes, or no plain file.
        OSError: If it is missing.
    """
    return _require_small(path, path.stat(), limit)


def _require_small(path: Path, status: os.stat_result, limit: int) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: not a plain file")
    if status.st_size > limit:
        raise ValueError(f"{path}: {status.st_size:,} bytes, expected at most {limit:,}")
    return status.st_size
