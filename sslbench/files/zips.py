"""Checkpoints and arrays are zip files, which carry a checksum (CRC-32) of each of their parts.

Neither torch nor numpy compares all of it before they take what is there for what was written.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def require_whole(path: Path) -> None:
    """Read a zip file and compare its contents with their checksums.

    Raises:
        ValueError: If a byte of them has changed.
    """
    with _opened(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{path}: damaged: {damaged} in it does not match its checksum")


def load_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name: all, or those of `names` that are there.

    Raises:
        ValueError: If the file is not there, one of them is damaged, or it is not of arrays.
    """
    with _opened(path) as archive:
        files = {file.removesuffix(".npy"): file for file in archive.namelist()}
        # Read whole, an array is compared with its checksum.
        parts = {name: archive.read(files[name]) for name in files if name in names or not names}
    try:
        return {name: np.load(io.BytesIO(part)) for name, part in parts.items()}
    except Exception as error:
        raise ValueError(f"{path}: no file of arrays ({error})") from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # of many kinds, by which byte it is
        raise ValueError(f"{path}: damaged ({error})") from error
