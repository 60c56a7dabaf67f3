"""`data=torchvision`: the data sets that torchvision knows, from its files or its downloads."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from sslbench.config.data import Data
from sslbench.config.parts import EXECUTION
from sslbench.data.content import read_digests
from sslbench.data.packed import Packed, Source, source_key
from sslbench.data.packing import Items
from sslbench.words.escape import visible

SPLITS = {
    "train": ("train", "trainval"),
    "val": ("val", "valid"),
    "test": ("test",),
    "unlabeled": ("unlabeled", "extra"),
}
"""What torchvision calls them, by ours; images that carry labels are taken without them there."""
PLACES = ("raw_folder", "base_folder", "_base_folder")
"""Attributes of a set that name the folder of its files."""
LABELS = ("targets", "labels", "_labels")


@dataclass
class Torchvision(Packed):
    """A class of `torchvision.datasets`, such as CIFAR10, SVHN or Flowers102, below `root`."""

    kind: str = "torchvision"
    dataset: str = ""
    """Its name there."""
    download: bool = field(default=False, metadata=EXECUTION)
    """Have torchvision download what is missing."""

    def source(self, memory: Path) -> Source:
        build = self._constructor()
        found = {
            split: it for split in SPLITS if (it := self._open_split(build, split)) is not None
        }
        if "train" not in found:
            raise ValueError(
                f"data.dataset={self.dataset}: has no images to train on; choose another"
            )
        labels = {split: _labels(images) for split, images in found.items() if split != "unlabeled"}
        splits = {
            split: Items(
                [f"{split}, image {i}" for i in range(len(images))],
                labels.get(split),
                partial(_read, images),
            )
            for split, images in found.items()
        }
        folder, files = _files(found["train"], Path(self.root))
        digests = b"".join(read_digests(folder, files, memory))
        named = os.fsencode("\0".join([self.dataset, *files]))
        class_names = _class_names(found["train"], labels)
        return Source(class_names, splits, source_key(named, digests))

    def would_download(self) -> bool:
        try:
            there = replace(self, download=False)
            return self.download and there._open_split(self._constructor(), "train") is None
        except ValueError:
            return True

    def undownloaded(self) -> Data:
        raise ValueError(
            f"data.dataset={self.dataset}: is not below {self.root} yet, and a dry run downloads "
            "nothing; train one cell first, or leave the dry run out"
        )

    def named(self) -> Self:
        return super().named() if self.name else replace(self, name=self.dataset)

    def _constructor(self) -> Callable[..., Any]:
        from torchvision import datasets

        kind = getattr(datasets, self.dataset, None) if self.dataset else None
        if not (isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)):
            known = [name for name in datasets.__all__ if name not in ("FakeData", "VisionDataset")]
            raise ValueError(
                f"data.dataset={self.dataset}: must be one of torchvision's, such as CIFAR10; it "
                f"knows {', '.join(sorted(known))}"
            )
        return kind

    def _open_split(self, build: Callable[..., Any], split: str) -> Any | None:
        """Return torchvision's data set of a split, None if it has no such split."""
        parameters = inspect.signature(build).parameters
        more: dict[str, Any] = {"download": self.download} if "download" in parameters else {}
        if "train" in parameters:
            choices = {"train": [{"train": True}], "test": [{"train": False}]}.get(split, [])
        elif "split" in parameters:
            choices = [{"split": name} for name in SPLITS[split]]
        else:
            choices = [{}] if split == "train" else []
        for choice in choices:
            try:
                return build(self.root, **choice, **more)
            except ValueError:  # it has no split of that name
                continue
            except (RuntimeError, OSError) as error:
                raise ValueError(
                    f"data=torchvision data.dataset={self.dataset}: not as it should be below "
                    f"{self.root} ({error}); data.download=true downloads it, data.root=… says "
                    "where it is"
                ) from error
            except TypeError as error:
                raise ValueError(
                    f"data.dataset={self.dataset}: needs more than a folder and a split ({error}); "
                    "save its images as files and take data=folder"
                ) from error
        return None


def _read(images: Any, start: int, stop: int) -> list[Callable[[], Any]]:
    """Return what opens each image: torchvision does that itself."""
    return [lambda i=i: images[i][0] for i in range(start, stop)]


def _labels(images: Any) -> np.ndarray:
    for name in LABELS:
        labels = getattr(images, name, None)
        if labels is not None and len(labels) == len(images):
            break
    else:
        labels = [images[i][1] for i in range(len(images))]
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu" or found.min() < 0:
        raise ValueError(
            "data=torchvision: its labels are not one class for each image; only sets for "
            "classification can be learnt from"
        )
    return found.astype(np.int64)


def _class_names(images: Any, labels: dict[str, np.ndarray]) -> tuple[str, ...]:
    number = 1 + max(int(of_split.max()) for of_split in labels.values())
    names = getattr(images, "classes", None)
    if isinstance(names, list | tuple) and len(names) == number:
        shown = tuple(visible(str(name)) for name in names)
        if len(set(shown)) == number:
            return shown
    return tuple(str(label) for label in range(number))


def _files(images: Any, root: Path) -> tuple[Path, list[str]]:
    """Return the folder of a set's files, and their paths in it, sorted."""
    folder = root
    for name in PLACES:
        place = getattr(images, name, None)
        if place is not None and (root / place).is_dir():
            folder = root / place  # which is `place` itself where it is absolute
            break
    files = [path for path in folder.rglob("*") if path.is_file()]
    return folder, sorted(path.relative_to(folder).as_posix() for path in files)
