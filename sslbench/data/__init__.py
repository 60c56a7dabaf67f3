"""The images: STL-10, any set in its binary layout, or the built-in stand-in."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.config.settings import Data
from sslbench.data.audit import Flaw, find_flaws, refuse_spoiled
from sslbench.data.content import memory_of
from sslbench.data.digits import open_digits
from sslbench.data.download import Unavailable
from sslbench.data.layout import FOLDER, Layout, read_layout
from sslbench.data.splits import choose_labeled, split_val_test
from sslbench.data.statistics import cached_statistics
from sslbench.data.stl10 import OFFICIAL, Release, how_to_get, obtain_stl10, open_stl10

log = logging.getLogger(__name__)

STAND_IN_WARNING = """
{bar}
This is NOT STL-10: data=auto takes the built-in stand-in, handwritten digits.
Its results are NOT comparable with the paper's.
Why: {reason}.
How to get STL-10:
{advice}
{bar}"""


@dataclass(frozen=True, eq=False)
class Dataset:
    """The files of a data set, and which of their images are used for what.

    Indices are int64 positions in a file, statistics are of the train file's pixels by channel.
    """

    name: str
    """`stl10`, `digits`, or the name of the folder that holds a `layout` set."""
    files: Layout
    train_indices: np.ndarray
    """The labelled images: all of the train file, a fold or a class-balanced choice."""
    val_indices: np.ndarray
    """Part of the test file; `test_indices` are the rest of it."""
    test_indices: np.ndarray
    mean: tuple[float, float, float]
    """On the scale 0 to 1, as `std` is."""
    std: tuple[float, float, float]
    flaws: list[Flaw]
    """Images that are blank, or there twice."""

    def describe(self) -> dict[str, Any]:
        """Return what a cell's record says of its data."""
        return {
            "name": self.name,
            "fingerprint": self.files.fingerprint,
            "class_names": list(self.files.class_names),
            "side": self.files.train_images.shape[-1],
            "num_labeled": len(self.train_indices),
            "num_unlabeled": len(self.files.unlabeled_images),
            "num_val": len(self.val_indices),
            "num_test": len(self.test_indices),
            "mean": list(self.mean),
            "std": list(self.std),
            "flaws": [str(flaw) for flaw in self.flaws],
        }


def concrete_data(settings: Data, outputs: Path, release: Release = OFFICIAL) -> Data:
    """Settle what the data is, downloading STL-10 if need be: `name` is no longer `auto`.

    Its files are those that its name stands for, or its `fingerprint`: of a layout, of STL-10's
    folds.

    Raises:
        ValueError: If the data is not there, or a download broke off.
    """
    match settings.name:
        case "digits":
            open_digits(outputs)
            return settings
        case "layout":
            found = _open_layout(settings, outputs).fingerprint
            return dataclasses.replace(settings, fingerprint=found)
    root = Path(settings.root)
    try:
        if not settings.download and not (root / FOLDER).exists():
            raise Unavailable(f"{root / FOLDER} does not exist and data.download=false")
        obtain_stl10(root, settings.url, release)
    except Unavailable as error:
        if settings.name == "stl10":
            raise _not_there(settings, release, str(error)) from error
        advice = how_to_get(root, settings.url, release)
        log.warning("%s", STAND_IN_WARNING.format(bar="=" * 80, reason=error, advice=advice))
        return concrete_data(dataclasses.replace(settings, name="digits"), outputs)
    found = open_stl10(root, memory_of(outputs), release).fingerprint
    of_folds = "" if settings.fold is None else found
    return dataclasses.replace(settings, name="stl10", fingerprint=of_folds)


def open_dataset(settings: Data, outputs: Path, release: Release = OFFICIAL) -> Dataset:
    """Open concrete data, check its files and choose its images.

    Raises:
        ValueError: If files are missing or damaged, or the settings ask for what is not in them.
    """
    assert settings.name != "auto", "concrete_data comes first"
    root = Path(settings.root)
    match settings.name:
        case "stl10":
            if not (root / FOLDER).exists():
                raise _not_there(settings, release, f"{root / FOLDER} does not exist")
            layout = open_stl10(root, memory_of(outputs), release)
        case "layout":
            layout = _open_layout(settings, outputs)
        case "digits":
            layout = open_digits(outputs)
    train = _labeled_indices(settings, layout)
    val, test = split_val_test(layout.test_labels, settings.val_fraction, settings.split_seed)
    flaws = _find_flaws(settings, layout, train, val, test)
    mean, std = cached_statistics(layout.train_images, layout.fingerprint, outputs)
    name = dataset_name(settings.name, settings.root)
    return Dataset(name, layout, train, val, test, mean, std, flaws)


def count_images(settings: Data, dataset: Dataset | None) -> dict[str, int]:
    """Return the numbers of `labeled`, `unlabeled`, `val` and `test` images.

    Without an opened data set they are those of STL-10.
    """
    if dataset is not None:
        described = dataset.describe()
        return {name: described[f"num_{name}"] for name in ("labeled", "unlabeled", "val", "test")}
    fold_or_all = OFFICIAL.num_train if settings.fold is None else OFFICIAL.num_train // 5
    num_val = round(OFFICIAL.num_test * settings.val_fraction)
    return {
        "labeled": settings.num_labeled or fold_or_all,
        "unlabeled": OFFICIAL.num_unlabeled,
        "val": num_val,
        "test": OFFICIAL.num_test - num_val,
    }


def is_here(settings: Data) -> bool:
    """Whether the data can be opened without a download."""
    return settings.name not in ("auto", "stl10") or (Path(settings.root) / FOLDER).exists()


def dataset_name(choice: str, root: str) -> str:
    """Return what concrete data is called: `stl10`, `digits`, or the folder of a `layout` set."""
    if choice != "layout":
        return choice
    name = Path(root).resolve().name
    # It was not checked to be what its folder is called.
    return f"layout-{name}" if name in ("stl10", "digits") else name


def _find_flaws(
    settings: Data, layout: Layout, train: np.ndarray, val: np.ndarray, test: np.ndarray
) -> list[Flaw]:
    hashes = layout.image_hashes
    splits = {"train": hashes["train"][train], "val": hashes["test"][val]}
    splits |= {"test": hashes["test"][test], "unlabeled": hashes["unlabeled"]}
    flaws = find_flaws(splits)
    refuse_spoiled(flaws, settings.max_flawed, settings.name)
    for flaw in flaws:
        log.warning("data=%s: %s", settings.name, flaw)
    return flaws


def _not_there(settings: Data, release: Release, reason: str) -> ValueError:
    return ValueError(
        f"data=stl10: STL-10 is not there\n"
        f"  Why: {reason}.\n"
        f"{how_to_get(Path(settings.root), settings.url, release)}\n"
        "  data=digits runs without it, on the built-in stand-in."
    )


def _open_layout(settings: Data, outputs: Path) -> Layout:
    folder = Path(settings.root) / FOLDER
    remedy = "write or copy it again, or set data.root=… to the folder that holds "
    remedy += f"{FOLDER}/ (now {settings.root})"
    layout = read_layout(folder, remedy, memory_of(outputs))
    if settings.fingerprint not in ("", layout.fingerprint):
        raise ValueError(
            f"{folder}: its fingerprint is {layout.fingerprint}, expected data.fingerprint="
            f"{settings.fingerprint}: the files are others, or changed; leave data.fingerprint out "
            "to take them as they are"
        )
    return layout


def _labeled_indices(settings: Data, layout: Layout) -> np.ndarray:
    indices = np.arange(len(layout.train_labels))
    if settings.fold is not None:
        if layout.folds is None:
            raise ValueError(
                f"data.fold={settings.fold}: data={settings.name} has no folds (no "
                "fold_indices.txt); leave data.fold out, or choose by data.num_labeled=…"
            )
        indices = layout.folds[settings.fold]
    if settings.num_labeled is not None:
        num_classes, seed = len(layout.class_names), settings.split_seed
        indices = choose_labeled(
            layout.train_labels, indices, settings.num_labeled, num_classes, seed
        )
    present = set(layout.train_labels[indices])
    missing = [name for label, name in enumerate(layout.class_names) if label not in present]
    if missing:
        raise ValueError(
            f"data={settings.name}: no labelled image of {', '.join(missing)}; each class in "
            "class_names.txt needs one"
        )
    return indices
