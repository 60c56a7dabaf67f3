"""Checksums of files, and JSON files that carry one of what they say."""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

from sslbench.files.atomic import write_json
from sslbench.files.small import MIB, read_small

SEAL = "sha256"
MAX_BYTES = 100 * MIB
"""Of a file of settings or results; a larger one is none."""

SETTLED_NS = 2_000_000_000
"""A file that was written since may be written again within one tick of the clock."""


class Unsealed(ValueError):
    """A file has no checksum."""


def write_sealed(path: Path, contents: dict[str, Any]) -> None:
    """Write an object as indented JSON with its checksum, whole or not at all.

    Numbers that are not finite, which JSON has no word for, become null.
    """
    finite = finite_numbers(contents)
    write_json(path, finite | {SEAL: _digest(finite)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        Unsealed: If it has no checksum.
        ValueError: If it is no JSON object, or not as it was written.
    """
    contents = json.loads(read_small(path, MAX_BYTES), parse_constant=_refuse)
    if not isinstance(contents, dict):
        raise ValueError("no object")
    seal = contents.pop(SEAL, None)
    if seal is None:
        raise Unsealed("without a checksum: of an older version, or changed by hand")
    if seal != _digest(contents):
        raise ValueError("it does not match its checksum: damaged, or changed by hand")
    return contents


def finite_numbers(value: Any) -> Any:
    """Return nested JSON values with None for NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_state(path: Path) -> list[int] | None:
    """Return what changes whenever a file is written, None if it was written just now.

    The time of the last change of its inode is part of it: no program sets that.
    """
    status = path.stat()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < SETTLED_NS:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _digest(contents: dict[str, Any]) -> str:
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
