"""Decoding a split's images once, in parallel, into a file to be mapped; resumed after a kill.

Threads do it: Pillow decodes and resizes without holding Python's lock. Around that it holds the
lock for half the time that a small image takes, so that many images are worth processes.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from sslbench.data.decode import Item, decode
from sslbench.files.atomic import replace_file
from sslbench.machine.processes import exit_with_parent
from sslbench.machine.threads import allowed_threads

log = logging.getLogger(__name__)

CHUNK_IMAGES = 256
"""Decoded, written and noted as done together: what a kill costs each thread."""
CHUNKS_FOR_PROCESSES = 64
"""So many are worth the second that processes take to start."""
MOST_PROCESSES = 16
"""Each takes some 50 MB."""
REASON_LENGTH = 200
Broken = dict[int, str]
"""By position in a split, why an image cannot be decoded."""


@dataclass(frozen=True, eq=False)
class Items:
    """A split's images before they are packed."""

    names: Sequence[str]
    """What messages call them."""
    labels: np.ndarray | None
    """int64 `(N,)` from 0."""
    read: Callable[[int, int], Sequence[Item]]
    """Returns those from one position to another; called from several threads."""


def pack_images(items: Items, side: int, path: Path) -> Broken:
    """Write a split's images to `path`, uint8, column by column as in STL-10, but for broken ones.

    What an earlier call, which was killed, left beside it is not done again.
    """
    raw, journal = path.with_suffix(".raw"), path.with_suffix(".done")
    num_images = len(items.names)
    done, broken = _read_journal(journal)
    if path.exists():
        raw.unlink(missing_ok=True)
        return broken
    starts = [start for start in range(0, num_images, CHUNK_IMAGES) if start not in done]
    left = num_images - len(done) * CHUNK_IMAGES
    with (
        warnings.catch_warnings(),
        raw.open("r+b" if raw.exists() else "w+b") as images,
        journal.open("a") as notes,
        closing(_pack_chunks(items, starts, side, raw)) as chunks,
        tqdm(total=num_images, initial=num_images - left, unit=" images", disable=None) as bar,
    ):
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata; what is broken is an error
        images.truncate(num_images * 3 * side**2)
        print(file=notes)  # ends a torn line
        for start, found in zip(starts, chunks, strict=True):
            os.fdatasync(images.fileno())  # before it is said to be there
            print(json.dumps([start, found]), file=notes, flush=True)
            broken |= found
            bar.update(min(CHUNK_IMAGES, num_images - start))
    if broken:
        _copy_others(broken, raw, path, num_images, side)
    else:
        raw.replace(path)
    return broken


def _pack_chunks(items: Items, starts: list[int], side: int, raw: Path) -> Iterator[Broken]:
    """Write chunks side by side, and yield the broken images of each, in their order."""

    def read(start: int) -> tuple[Sequence[Item], int, int, Path]:
        return items.read(start, min(start + CHUNK_IMAGES, len(items.names))), start, side, raw

    workers = allowed_threads()
    if len(starts) >= CHUNKS_FOR_PROCESSES and workers > 1 and not callable(read(0)[0][0]):
        workers = min(workers, MOST_PROCESSES)
        try:
            parallel = Parallel(workers, "loky", return_as="generator", batch_size=1)
            yield from parallel(delayed(_pack_in_process)(*read(start)) for start in starts)
        finally:
            get_reusable_executor().shutdown(wait=True)
        return
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from threads.map(lambda start: _pack_chunk(*read(start)), starts)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: not all the others first


def _pack_chunk(items: Sequence[Item], start: int, side: int, raw: Path) -> Broken:
    pixels, broken = _decode_all(items, start, side)
    with raw.open("r+b") as images:
        os.pwrite(images.fileno(), pixels.data, start * 3 * side**2)
    return broken


def _pack_in_process(items: Sequence[Item], start: int, side: int, raw: Path) -> Broken:
    exit_with_parent()  # the next call would write to the same file
    warnings.simplefilter("ignore")  # as in the process that started this one
    return _pack_chunk(items, start, side, raw)


def _decode_all(items: Sequence[Item], start: int, side: int) -> tuple[np.ndarray, Broken]:
    pixels, broken = np.zeros((len(items), 3, side, side), np.uint8), Broken()
    for i, item in enumerate(items):
        try:
            pixels[i] = decode(item, side)
        except Exception as error:  # Pillow's are of many kinds
            broken[start + i] = f"{type(error).__name__}: {error}"[:REASON_LENGTH]
    return pixels, broken


def _read_journal(journal: Path) -> tuple[set[int], Broken]:
    """Return the chunks that are done, by their first positions, and the broken images in them."""
    done, broken = set(), Broken()
    for start, found in _lines(journal):
        done.add(start)
        broken |= {int(position): reason for position, reason in found.items()}
    return done, broken


def _lines(journal: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for line in journal.read_text().splitlines() if journal.exists() else ():
        with suppress(ValueError):  # a torn line
            yield json.loads(line)


def _copy_others(broken: Broken, raw: Path, path: Path, num_images: int, side: int) -> None:
    """Copy all but the broken images from one file to another."""
    images = np.memmap(raw, np.uint8, mode="r", shape=(num_images, 3 * side**2))

    def write(file: BinaryIO) -> None:
        for start in range(0, num_images, CHUNK_IMAGES):
            rows = range(start, min(start + CHUNK_IMAGES, num_images))
            file.write(images[[row for row in rows if row not in broken]].data)

    replace_file(path, write)
    raw.unlink()
