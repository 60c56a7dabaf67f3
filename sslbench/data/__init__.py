"""Data sets: which one, opened, checked and split."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sslbench.config.settings import Data
from sslbench.data import stl10
from sslbench.data.digits import digits_root
from sslbench.data.download import Unreachable
from sslbench.data.layout import Layout, fingerprint, read_layout
from sslbench.data.splits import balanced_subset, split_validation
from sslbench.data.statistics import cached_statistics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Images `(N, 3, 96, 96)` uint8, memory-mapped; labels `(N,)` int64, 0 .. C - 1.

    `train_indices` choose among the train images; `val_indices` and `test_indices` split the test
    images. Unlabelled images have no labels. `mean` and `std` are those of the train images'
    channels, pixels in [0, 1].
    """

    name: str
    fingerprint: str
    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    unlabeled_images: np.ndarray
    train_indices: np.ndarray
    val_indices: np.ndarray
    test_indices: np.ndarray
    mean: list[float]
    std: list[float]


def _cache(outputs: Path) -> Path:
    return outputs / "cache"


def concrete_data(data: Data, outputs: Path) -> Data:
    """Choose what `auto` is, and tell one `layout` from others by its fingerprint.

    STL-10 is downloaded where that is asked for and possible. Files that are there but not whole
    are an error, never a reason to take the stand-in.

    Raises:
        ValueError: If the data is not there or not usable.
    """
    root = Path(data.root)
    if data.name in ("auto", "stl10") and not stl10.is_present(root):
        try:
            if not data.download:
                raise Unreachable("data.download=false")
            stl10.fetch(root, data.url)
        except Unreachable as error:
            if data.name == "stl10":
                how = stl10.how_to_get(root, data.url)
                raise ValueError(f"data=stl10: not there, and {error}\n{how}") from error
            log.warning(
                "\n*** STL-10 is not there (%s).\n"
                "*** Going on with data=digits, the built-in stand-in: 60 labelled and 1,200\n"
                "*** unlabelled handwritten digits. Its figures say nothing about STL-10.\n"
                "*** %s\n",
                error,
                stl10.how_to_get(root, data.url).replace("\n", "\n*** "),
            )
            return replace(data, name="digits")
    if data.name == "auto":
        return replace(data, name="stl10")
    if data.name == "layout":
        return replace(data, fingerprint=fingerprint(root))
    return data


def open_dataset(data: Data, outputs: Path) -> Dataset:
    """Open, check and split the images that concrete settings name.

    Raises:
        ValueError: If a file is damaged, or the splits do not exist.
    """
    root = Path(data.root)
    match data.name:
        case "stl10":
            stl10.verify(root)
            name = "stl10"
        case "layout":
            name = root.resolve().name
        case "digits":
            root = digits_root(_cache(outputs))
            name = "digits"
        case _:
            raise AssertionError(f"data.name={data.name} is not concrete")
    layout = read_layout(root)
    found = fingerprint(root)
    mean, std = cached_statistics(layout.train_images, found, _cache(outputs))
    val, test = split_validation(layout.test_labels, data.val_fraction, data.split_seed)
    return Dataset(
        name=name,
        fingerprint=found,
        class_names=layout.class_names,
        train_images=layout.train_images,
        train_labels=layout.train_labels,
        test_images=layout.test_images,
        test_labels=layout.test_labels,
        unlabeled_images=layout.unlabeled_images,
        train_indices=_labeled(layout, data),
        val_indices=val,
        test_indices=test,
        mean=mean,
        std=std,
    )


def _labeled(layout: Layout, data: Data) -> np.ndarray:
    """Return the positions of the labelled images: all, one fold, or a balanced choice."""
    chosen = np.arange(len(layout.train_labels))
    if data.fold is not None:
        if not layout.folds:
            raise ValueError(f"data.fold={data.fold}: data={data.name} has no fold_indices.txt")
        chosen = layout.folds[data.fold]
    if data.num_labeled is not None:
        chosen = balanced_subset(layout.train_labels, chosen, data.num_labeled, data.split_seed)
    return chosen
