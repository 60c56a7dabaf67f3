"""Checkpoints and arrays are zip files, which carry a checksum (CRC-32) of each of their parts.

Neither torch nor numpy compares all of it before they take what is there for what was written.
"""

import zipfile
from pathlib import Path

import numpy as np


def require_whole(path: Path) -> None:
    """Read a zip file and compare its contents with their checksums.

    Raises:
        ValueError: If a byte of them has changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # of many kinds, by which byte it is
        raise ValueError(f"{path}: damaged ({error})") from error
    if damaged is not None:
        raise ValueError(f"{path}: damaged: {damaged} in it does not match its checksum")


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name.

    Raises:
        ValueError: If the file is not there, damaged or not of arrays.
    """
    require_whole(path)
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except Exception as error:
        raise ValueError(f"{path}: no file of arrays ({error})") from error
