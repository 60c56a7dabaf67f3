"""Reading files that others wrote: by their size first, so that none fills the memory."""

import stat
from pathlib import Path

MIB = 2**20


def read_small(path: Path, limit: int = 16 * MIB) -> bytes:
    """Return a file's bytes, refusing what cannot be what it is taken for.

    Raises:
        ValueError: If it is larger than `limit` bytes, or no plain file, such as a pipe.
        OSError: If it is missing or cannot be read.
    """
    require_small(path, limit)
    with path.open("rb") as file:  # may grow while it is read
        contents = file.read(limit + 1)
    if len(contents) > limit:
        raise ValueError(f"{path}: grows while it is read; expected at most {limit:,} bytes")
    return contents


def require_small(path: Path, limit: int) -> None:
    """Refuse a file that is too large, or that would never end.

    Raises:
        ValueError: If it is larger than `limit` bytes, or no plain file.
        OSError: If it is missing.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: not a plain file")
    if status.st_size > limit:
        raise ValueError(f"{path}: {status.st_size:,} bytes, expected at most {limit:,}")
