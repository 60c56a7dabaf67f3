"""Images of any form, packed once into files that are read as STL-10's are.

`<outputs>/cache/packed/` holds each set by the fingerprint of what was packed, and a file by the
hash of all that it was packed from, which names the fingerprint.
"""

import hashlib
import json
import logging
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.config.data import Data
from sslbench.config.parts import EXECUTION
from sslbench.config.ranges import fraction
from sslbench.data.content import Content, hash_pieces, memory_of, read_content
from sslbench.data.layout import Layout, map_images
from sslbench.data.packing import Broken, Items, pack_images
from sslbench.files.atomic import make_writable_folder, replace_file
from sslbench.files.checksums import read_sealed, write_sealed
from sslbench.files.lock import alone
from sslbench.words.escape import printable

log = logging.getLogger(__name__)

VERSION = "1"
"""Of how images are decoded and packed; another way needs another number."""
SPLITS = ("train", "val", "test", "unlabeled")
INDEX = "pack.json"
KEY = "key.txt"
SHOWN = 5
NOTED = 100
"""Broken images that the index names."""


@dataclass(frozen=True, eq=False)
class Source:
    """A set before it is packed."""

    class_names: tuple[str, ...]
    splits: dict[str, Items]
    """By name: `train`, and where there are any `val`, `test`, `unlabeled`."""
    key: str
    """Hash of every byte of it."""


@dataclass
class Packed(Data):
    """Any images: the shorter side is resized to `side`, the centre cropped, once for all cells."""

    max_broken: float = field(default=0.01, metadata=EXECUTION)
    """Share of a split's images that may be broken; they are left out, named and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("data.max_broken", self.max_broken)

    def source(self, memory: Path) -> Source:
        """Find the images, their labels and what tells them from others.

        Args:
            memory: Where hashes of files are remembered.

        Raises:
            ValueError: If they are not there, or not as they should be.
        """
        raise NotImplementedError

    def open(self, outputs: Path) -> Layout:
        packs, memory = outputs / "cache" / "packed", memory_of(outputs)
        fingerprint, contents = self.fingerprint, {}
        if not fingerprint or not (packs / fingerprint / INDEX).exists():
            fingerprint, contents = self._pack(packs, memory)
            self.require(fingerprint, self.root)
        return self._read(packs / fingerprint, memory, contents)

    def _pack(self, packs: Path, memory: Path) -> tuple[str, dict[str, Content]]:
        """Pack the set unless that is done; one process at a time.

        Returns:
            The fingerprint, and the contents of files that were written now, by name.
        """
        make_writable_folder(packs)
        source = self.source(memory)
        key = hashlib.sha256(f"{VERSION} {self.side} {source.key}".encode()).hexdigest()[:16]
        place = hashlib.sha256(f"{self.kind} {self.root}".encode(errors="replace")).hexdigest()[:16]
        with alone(packs / f".{place}.lock", f"packs {self.root}"):
            known = packs / f"{key}.json"
            with suppress(OSError, ValueError):  # not yet, or torn
                fingerprint = read_sealed(known)["fingerprint"]
                if (packs / fingerprint / INDEX).exists():
                    return fingerprint, {}
            work = packs / f".{place}.packing"
            _begin(work, key)
            fingerprint, contents = self._pack_into(work, source)
            if (packs / fingerprint).exists():  # from the same images elsewhere
                contents = {}
            else:
                work.replace(packs / fingerprint)
                for rest in (KEY, *(f"{split}_X.done" for split in source.splits)):
                    (packs / fingerprint / rest).unlink(missing_ok=True)
            shutil.rmtree(work, ignore_errors=True)
            write_sealed(known, {"fingerprint": fingerprint})
            return fingerprint, contents

    def _pack_into(self, work: Path, source: Source) -> tuple[str, dict[str, Content]]:
        num_images = sum(len(items.names) for items in source.splits.values())
        log.info("packing %s images of %s at %d pixels", f"{num_images:,}", self.root, self.side)
        began, contents, digests, broken = time.monotonic(), {}, {}, {}
        for split, items in source.splits.items():
            path = work / f"{split}_X.bin"
            lost = pack_images(items, self.side, path)
            broken[split] = _describe(lost, items)
            self._require_few(split, broken[split])
            contents[path.name] = content = hash_pieces(path, 3 * self.side**2)
            digests[path.name] = content.digest
            if items.labels is not None:
                labels = np.delete(items.labels, sorted(lost)).astype("<i8")
                replace_file(work / f"{split}_y.npy", lambda file, it=labels: np.save(file, it))
                digests[f"{split}_y.npy"] = hashlib.sha256(labels.tobytes()).hexdigest()
        seconds = time.monotonic() - began
        rate = num_images / max(seconds, 1e-9)
        log.info("packed in %.0f s, %.0f images/s", seconds, rate)
        index = {"class_names": list(source.class_names), "side": self.side, "broken": broken}
        write_sealed(work / INDEX, index)
        return _fingerprint(source.class_names, self.side, digests), contents

    def _require_few(self, split: str, broken: dict[str, Any]) -> None:
        number, of = broken["number"], broken["of"]
        if number > self.max_broken * of or number == of:
            raise ValueError(
                f"data={self.kind}: {_told(split, broken)}; mend or remove them, or leave them out "
                f"by data.max_broken={min(1.0, number / of * 1.01 + 0.001):.3f}"
            )

    def _read(self, folder: Path, memory: Path, contents: dict[str, Content]) -> Layout:
        remedy = f"delete {folder}: it is packed again from data.root={self.root}"
        try:
            index = read_sealed(folder / INDEX)
            side, names = index["side"], tuple(index["class_names"])
            images, labels, hashes, digests = {}, {}, {}, {}
            for path in sorted(folder.glob("*_X.bin"), key=lambda it: SPLITS.index(_split_of(it))):
                split, known = _split_of(path), contents.get(path.name)
                content = read_content(path, 3 * side**2, memory, known)
                images[split] = map_images(path, len(content.pieces), side)
                hashes[split], digests[path.name] = content.pieces, content.digest
            for path in folder.glob("*_y.npy"):
                labels[_split_of(path)] = of_split = np.load(path)
                digests[path.name] = hashlib.sha256(of_split.tobytes()).hexdigest()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: damaged ({error}); {remedy}") from error
        found = _fingerprint(names, side, digests)
        if found != folder.name:
            raise ValueError(f"{folder}: damaged: not as it was packed; {remedy}")
        for split, broken in index["broken"].items():
            self._require_few(split, broken)
        broken = [_told(*each) for each in index["broken"].items() if each[1]["number"]]
        notes = tuple(f"{it}: left out" for it in broken)
        return Layout(names, images, labels, None, found, hashes, notes)


def source_key(*parts: bytes) -> str:
    """Return a hash of what a set is packed from."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(hashlib.sha256(part).digest())
    return hashed.hexdigest()


def _begin(work: Path, key: str) -> None:
    """Keep what an earlier call has packed of the same images, and nothing else."""
    with suppress(OSError):
        if (work / KEY).read_text() == key:
            return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / KEY).write_text(key)


def _split_of(path: Path) -> str:
    return path.name.partition("_")[0]


def _describe(lost: Broken, items: Items) -> dict[str, Any]:
    first = {items.names[position]: lost[position] for position in sorted(lost)[:NOTED]}
    return {"number": len(lost), "of": len(items.names), "files": first}


def _told(split: str, broken: dict[str, Any]) -> str:
    files = list(broken["files"].items())[:SHOWN]
    shown = ", ".join(printable(f"{name} ({reason})") for name, reason in files)
    more = f" and {broken['number'] - SHOWN:,} more" if broken["number"] > SHOWN else ""
    return f"{broken['number']:,} of {broken['of']:,} {split} images are broken: {shown}{more}"


def _fingerprint(class_names: tuple[str, ...], side: int, digests: dict[str, str]) -> str:
    text = json.dumps([class_names, side, sorted(digests.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
