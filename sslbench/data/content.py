"""What a file holds, by every byte: hashed once, and again only where the file was touched."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.files.atomic import replace_file
from sslbench.files.checksums import file_sha256, file_state
from sslbench.files.small import MIB, read_small, require_small
from sslbench.files.zips import load_arrays
from sslbench.machine.threads import allowed_threads

log = logging.getLogger(__name__)

PIECES_AT_A_TIME = 64
"""1.8 MB of STL-10's images, by each thread: they stay in its core's cache."""
SLOW_BYTES = 500_000_000
"""A file that takes seconds, which is worth a line."""
MANY_FILES = 1000
"""So many as are worth a line."""
FILES_AT_A_TIME = 64
"""By each thread: to hand a small file over takes longer than to hash it."""
READ_WHOLE = MIB
"""Files of so many bytes are read at once."""
LARGEST_FILE = 2**50
DIGEST_BYTES = 32
UNREADABLE = bytes(DIGEST_BYTES)
SCHEME = "sha256-1"


@dataclass(frozen=True, eq=False)
class Content:
    """What identifies a file's bytes, and those of each image in it."""

    digest: str
    """SHA-256 in hex over the SHA-256 of its pieces: so that they are hashed side by side."""
    pieces: np.ndarray
    """`(N,)` uint64: the first 8 bytes of each piece's SHA-256."""


def memory_of(outputs: Path) -> Path:
    """Return where the hashes of files are remembered."""
    return outputs / "cache" / "content"


def read_content(
    path: Path, piece_bytes: int, memory: Path, known: Content | None = None
) -> Content:
    """Hash a file of pieces of so many bytes, or recall what its hash was.

    Args:
        known: What the one who has just written it found, to be remembered.
        memory: Folder of what was hashed before; one that cannot be written costs only time.
    """
    state = file_state(path)
    place = hashlib.sha256(f"{SCHEME} {piece_bytes} {path.resolve()}".encode()).hexdigest()
    kept = memory / f"{place[:16]}.npz"
    recalled, state_then = _recall(kept)
    if recalled is not None and state is not None and state_then == state:
        return recalled
    if known is None and path.stat().st_size > SLOW_BYTES:
        log.info("hashing %s, %.1f GB", path, path.stat().st_size / 1e9)
    content = known or hash_pieces(path, piece_bytes)
    if recalled is not None and recalled.digest != content.digest:
        log.warning(
            "%s has changed since it was last used: cells trained on it before are other cells",
            path,
        )
    if file_state(path) == state:  # else it was written meanwhile
        _remember(kept, content, state)
    return content


def hash_pieces(path: Path, piece_bytes: int) -> Content:
    """Hash a file piece by piece, on all threads; the last piece may be a short one."""
    size = path.stat().st_size
    block = PIECES_AT_A_TIME * piece_bytes
    with path.open("rb") as file, ThreadPoolExecutor(allowed_threads()) as threads:

        def digests(start: int) -> bytes:
            data = memoryview(os.pread(file.fileno(), block, start))
            pieces = range(0, len(data), piece_bytes)
            return b"".join(hashlib.sha256(data[at : at + piece_bytes]).digest() for at in pieces)

        found = b"".join(threads.map(digests, range(0, size, block)))
    pieces = np.frombuffer(found, "<u8").reshape(-1, 4)[:, 0].copy()
    return Content(hashlib.sha256(found).hexdigest(), pieces)


def read_digests(root: Path, names: Sequence[str], memory: Path) -> list[bytes]:
    """Hash files below `root`, or recall what their SHA-256 was where they were not touched.

    One that cannot be read has a digest of zeros, which is not remembered: whoever reads it says
    what is wrong with it.

    Args:
        names: Their paths in it.
        memory: As in `read_content`.
    """
    place = hashlib.sha256(f"{SCHEME} files {root.resolve()}".encode(errors="replace")).hexdigest()
    kept = memory / f"{place[:16]}.npz"
    known = _recall_files(kept)
    paths = {name: root / name for name in names}
    states = [_state_of(path) for path in paths.values()]
    found = {
        name: known[name][1]
        for name, state in zip(names, states, strict=True)
        if state is not None and name in known and known[name][0] == state
    }
    missing = {name: path for name, path in paths.items() if name not in found}
    if missing:
        if len(missing) > MANY_FILES:
            log.info("hashing %s files of %s", f"{len(missing):,}", root)
        left, starts = list(missing.values()), range(0, len(missing), FILES_AT_A_TIME)
        blocks = [left[start : start + FILES_AT_A_TIME] for start in starts]
        with ThreadPoolExecutor(allowed_threads()) as threads:
            hashed = threads.map(lambda block: [_digest_of(path) for path in block], blocks)
            found |= dict(zip(missing, chain.from_iterable(hashed), strict=True))
        _remember_files(kept, names, states, found)
    return [found[name] for name in names]


def _state_of(path: Path) -> list[int] | None:
    try:
        return file_state(path)
    except OSError:
        return None


def _digest_of(path: Path) -> bytes:
    try:
        if require_small(path, LARGEST_FILE) > READ_WHOLE:
            return bytes.fromhex(file_sha256(path))
        return hashlib.sha256(read_small(path)).digest()
    except (OSError, ValueError):
        return UNREADABLE


def _recall_files(kept: Path) -> dict[str, tuple[list[int], bytes]]:
    """Return by name the state and the digest of the files that were hashed before."""
    try:
        arrays = load_arrays(kept)
        names = os.fsdecode(arrays["names"].tobytes()).split("\0")
        states, digests = arrays["states"].tolist(), arrays["digests"]
        return {
            name: (state, digest.tobytes())
            for name, state, digest in zip(names, states, digests, strict=True)
        }
    except (ValueError, KeyError):  # none, or a damaged one: they are hashed anew
        return {}


def _remember_files(
    kept: Path,
    names: Sequence[str],
    states: Sequence[list[int] | None],
    digests: dict[str, bytes],
) -> None:
    settled = [
        (name, state)
        for name, state in zip(names, states, strict=True)
        if state and digests[name] != UNREADABLE
    ]
    of_settled = b"".join(digests[name] for name, _ in settled)
    _save(
        kept,
        {
            "names": np.frombuffer(os.fsencode("\0".join(name for name, _ in settled)), np.uint8),
            "states": np.array([state for _, state in settled], np.int64).reshape(-1, 4),
            "digests": np.frombuffer(of_settled, np.uint8).reshape(-1, DIGEST_BYTES),
        },
    )


def _recall(kept: Path) -> tuple[Content | None, list[int] | None]:
    try:
        arrays = load_arrays(kept)
        return Content(str(arrays["digest"]), arrays["pieces"]), arrays["state"].tolist()
    except (ValueError, KeyError):  # none, or a damaged one: it is hashed anew
        return None, None


def _remember(kept: Path, content: Content, state: list[int] | None) -> None:
    _save(kept, {"digest": content.digest, "pieces": content.pieces, "state": state or []})


def _save(kept: Path, arrays: dict[str, Any]) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept, lambda file: np.savez(file, **arrays))
    except OSError as error:
        log.info("%s cannot be written (%s): files are hashed each time", kept, error.strerror)
