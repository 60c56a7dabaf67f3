"""`data=folder`: folders of images, as people have them."""

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sslbench.data.content import read_digests
from sslbench.data.packed import SPLITS, Packed, Source, source_key
from sslbench.data.packing import Items
from sslbench.words.escape import visible

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LABELED = ("train", "val", "test")
SHOWN = 5


@dataclass
class Folder(Packed):
    """Images below `root`: `train/CLASS/`, and where there are any `val/`, `test/`, `unlabeled/`.

    JPEG, PNG, WebP and others, of any size; below a class, and in `unlabeled/`, in any folders.
    """

    kind: str = "folder"

    def source(self, memory: Path) -> Source:
        root = Path(self.root)
        found = {split: _find_images(root, split) for split in SPLITS}
        classes = _find_classes(root, found["train"])
        labels_of = {name: label for label, name in enumerate(classes)}
        splits = {
            split: Items(
                names,
                _find_labels(root, names, labels_of) if split in LABELED else None,
                partial(_read, root, names),
            )
            for split, names in found.items()
            if names
        }
        _tell_ignored(root)
        names = [name for names in found.values() for name in names]
        digests = b"".join(read_digests(root, names, memory))
        return Source(
            class_names=_class_names(classes, root),
            splits=splits,
            key=source_key(os.fsencode("\0".join(names)), digests),
        )


def _find_classes(root: Path, names: list[str]) -> list[str]:
    """Return the names of the folders in `train/`, sorted; each has an image."""
    train = root / "train"
    if not train.is_dir():
        raise ValueError(
            f"data=folder: {train} is not there: put each class's images in a folder of its own, "
            f"as in {train}/CAT/1.jpg, or set data.root=… to the folder that holds train/"
        )
    classes = sorted(_subfolders(train))
    if len(classes) < 2:
        raise ValueError(
            f"{train}: holds {len(classes)} folders of images, and there is one for each of at "
            f"least two classes, as in {train}/CAT/1.jpg"
        )
    filled = {name.split("/", 2)[1] for name in names}
    empty = [name for name in classes if name not in filled]
    if empty:
        raise ValueError(
            f"{train}: no image in {_some(empty)}; put some there, or remove the folder"
        )
    return classes


def _find_images(root: Path, split: str) -> list[str]:
    """Return the paths in `root` of the images of a split, sorted; hidden ones are left out."""
    found, seen = [], set()
    for place, folders, files in os.walk(root / split, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link may lead back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(place, root)
        found += [
            f"{inside}/{name}"
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def _subfolders(folder: Path) -> list[str]:
    # A link in a circle is no folder; an entry of os.scandir would raise.
    found = [it.name for it in folder.iterdir() if it.is_dir()]
    return [name for name in found if not name.startswith(".")]


def _find_labels(root: Path, names: list[str], labels_of: dict[str, int]) -> np.ndarray:
    """Return the `(N,)` int64 labels of `split/CLASS/…` by the folders that images lie in."""
    of_names = [name.split("/", 2) for name in names]
    strays = sorted({parts[0] for parts in of_names if len(parts) < 3})
    if strays:
        raise ValueError(
            f"{root / strays[0]}: images lie in it, outside the classes' folders; move them to the "
            "folders of their classes"
        )
    unknown = sorted({parts[1] for parts in of_names} - labels_of.keys())
    if unknown:
        raise ValueError(
            f"{root / of_names[0][0]}: {_some(unknown)}: no such class in {root / 'train'}; name "
            "the folders alike, or move these away"
        )
    return np.array([labels_of[parts[1]] for parts in of_names], np.int64)


def _class_names(classes: list[str], root: Path) -> tuple[str, ...]:
    """Return folders' names as texts that can be shown in one line."""
    names = tuple(map(_readable, classes))
    if len(set(names)) < len(names):
        raise ValueError(f"{root / 'train'}: names of folders that look the same; rename some")
    return names


def _read(root: Path, names: list[str], start: int, stop: int) -> list[Path]:
    return [root / name for name in names[start:stop]]


def _tell_ignored(root: Path) -> None:
    ignored = sorted(set(_subfolders(root)) - set(SPLITS))
    if ignored:
        log.warning(
            "%s: %s: not used; the folders that are are called %s",
            *(root, _some(ignored), ", ".join(SPLITS)),
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(_readable, names[:SHOWN]))
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _readable(name: str) -> str:
    """Return a folder's name, of whatever bytes, as text in one line."""
    return visible(os.fsencode(name).decode(errors="backslashreplace"))
