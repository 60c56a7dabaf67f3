"""Which of a set's images are used for what, as its settings ask."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sslbench.config.data import Data, share_of
from sslbench.data.layout import Layout
from sslbench.data.splits import (
    TEST_PURPOSE,
    VAL_PURPOSE,
    choose_labeled,
    choose_share,
    cut,
    plain_number,
)

SHOWN = 5
"""Classes that a message names."""
CHOICES = ("fold", "num_labeled", "val_from", "val_fraction", "test_fraction", "split_seed")
"""Settings that choose images."""


class Subset(NamedTuple):
    """Some of a file's images, by their positions in it, `(N,)` int64."""

    file: str
    indices: np.ndarray


class Protocol(NamedTuple):
    """Which images are labelled to learn from or not, which validate, which test."""

    train: Subset
    val: Subset
    test: Subset
    unlabeled: Subset
    """Of the pool that the ratio chooses from."""

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of `labeled`, `unlabeled`, `val` and `test` images."""
        return {
            "labeled": len(self.train.indices),
            "unlabeled": len(self.unlabeled.indices),
            "val": len(self.val.indices),
            "test": len(self.test.indices),
        }

    def is_as(self, other: "Protocol") -> bool:
        """Whether the same images are used for the same."""
        return all(
            mine.file == theirs.file and np.array_equal(mine.indices, theirs.indices)
            for mine, theirs in zip(self, other, strict=True)
        )


def divide(data: Data, files: Layout) -> Protocol:
    """Divide a set's images as its settings ask.

    Raises:
        ValueError: If they ask for what is not in the files.
    """
    whole = {name: Subset(name, np.arange(len(images))) for name, images in files.images.items()}
    left, test = whole["train"], whole.get("test")
    if test is None:
        test, left = _cut(data, files, left, "test", TEST_PURPOSE)
    val_from = files.val_from if data.val_from == "auto" else data.val_from
    if val_from not in files.labels:
        raise ValueError(
            f"data.val_from={val_from}: data={data.kind} has no {val_from} images of its own; "
            "data.val_from=train takes train images"
        )
    if val_from == "val":
        val = whole["val"]
    elif val_from == "test":
        val, test = _cut(data, files, test, "val", VAL_PURPOSE)
    else:
        val, left = _cut(data, files, left, "val", VAL_PURPOSE)
    of_names = {"validation": val, "test": test}
    for name, part in of_names.items():
        _require_classes(part, files, name)
    pool = left if data.unlabeled_from == "train" else whole.get("unlabeled", _none("unlabeled"))
    return Protocol(_labeled(data, files, left), val, test, pool)


def untested_classes(files: Layout, splits: Protocol) -> list[str]:
    """Say of which classes there is no validation or test image."""
    missing = {"validation": _missing(splits.val, files), "test": _missing(splits.test, files)}
    return [
        f"no {what} image of {len(names)} of {len(files.class_names)} classes, {_some(names)}: "
        f"the {what} accuracy says nothing of {'it' if len(names) == 1 else 'them'}"
        for what, names in missing.items()
        if names
    ]


def settle(data: Data, open_files: Callable[[], Layout]) -> Data:
    """Return the settings in the words that all have who ask for the same choice of images.

    What makes no difference with these files is as by default, and a share of the labelled images
    is their number where classes have equally many.

    Args:
        open_files: Called only where there is a choice.

    Raises:
        ValueError: As `divide`.
    """
    usual = {name: getattr(type(data), name) for name in CHOICES}
    asked = [name for name in CHOICES if getattr(data, name) != usual[name]]
    if not asked:
        return data
    files = open_files()
    chosen = divide(data, files)
    for name in asked:
        simpler = replace(data, **{name: usual[name]})
        if divide(simpler, files).is_as(chosen):
            data = simpler
    if isinstance(data.num_labeled, str):
        everything = divide(replace(data, num_labeled=None), files).train
        labels = files.labels[everything.file][everything.indices]
        number = plain_number(np.unique(labels, return_counts=True)[1], share_of(data.num_labeled))
        data = replace(data, num_labeled=number)
    return data


def _missing(part: Subset, files: Layout) -> list[str]:
    """Return the names of the classes of which a subset has no image."""
    present = set(files.labels[part.file][part.indices].tolist())
    return [name for label, name in enumerate(files.class_names) if label not in present]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + " and others" * (len(names) > SHOWN)


def _none(file: str) -> Subset:
    return Subset(file, np.empty(0, np.int64))


def _cut(data: Data, files: Layout, of: Subset, what: str, purpose: int) -> tuple[Subset, Subset]:
    """Cut the share `data.<what>_fraction` off, class by class, and return it and the rest."""
    name, labels = f"{what}_fraction", files.labels[of.file]
    fraction = getattr(data, name)
    part, rest = cut(labels, of.indices, fraction, data.split_seed, purpose)
    if not len(part) or not len(rest):
        rest_is = "the test" if of.file == "test" else "training"
        what = {"val": "validation", "test": "the test"}[what]
        raise ValueError(
            f"data.{name}={fraction}: leaves {len(part)} of {len(of.indices)} {of.file} images "
            f"for {what} and {len(rest)} for {rest_is}; pick one nearer to 0.5"
        )
    return Subset(of.file, part), Subset(of.file, rest)


def _require_classes(part: Subset, files: Layout, name: str) -> None:
    if len(np.unique(files.labels[part.file][part.indices])) < 2:
        raise ValueError(
            f"all {len(part.indices)} {name} images are of one class; an accuracy on them says "
            f"nothing: mend the {part.file} images, or pick another data.val_fraction"
        )


def _labeled(data: Data, files: Layout, left: Subset) -> Subset:
    """Return the images whose labels are learnt from: all that are left, a fold or a choice."""
    indices, labels = left.indices, files.labels[left.file]
    if data.fold is not None:
        if files.folds is None:
            raise ValueError(
                f"data.fold={data.fold}: data={data.kind} has no folds (no fold_indices.txt); "
                "leave data.fold out, or choose by data.num_labeled=…"
            )
        fold = files.folds[data.fold]
        indices = fold[np.isin(fold, indices)]
    if isinstance(data.num_labeled, str):
        indices = choose_share(labels, indices, share_of(data.num_labeled), data.split_seed)
    elif data.num_labeled is not None:
        num_classes, seed = len(files.class_names), data.split_seed
        indices = choose_labeled(labels, indices, data.num_labeled, num_classes, seed)
    if missing := _missing(left._replace(indices=indices), files):
        raise ValueError(
            f"data={data.kind}: no labelled image of {_some(missing)}; each class needs one to "
            "learn from"
        )
    return left._replace(indices=indices)
