"""What no file shows by itself: images that are blank, there twice, or in two splits at once."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np


class Flaw(NamedTuple):
    """So many of the images of a split are not as they should be."""

    text: str
    """As in "test images are among the train images"."""
    number: int
    of: int
    spoils: bool
    """Whether results would be wrong with many of them."""

    def __str__(self) -> str:
        return f"{self.number:,} of {self.of:,} {self.text}"


def find_flaws(splits: Mapping[str, np.ndarray], side: int) -> list[Flaw]:
    """Compare images by their hashes.

    Args:
        splits: `(N,)` uint64 hashes of the images that are used as `train`, `val`, `test` and
            `unlabeled` ones; those of `train`, `val` and `test` have labels.
        side: Of the images, in pixels.
    """
    train, val, test, pool = (splits[name] for name in ("train", "val", "test", "unlabeled"))
    found = []
    for name, images in splits.items():
        found.append(
            Flaw(f"{name} images are blank", _count(images, _blank(side)), len(images), True)
        )
    for name, images in (("val", val), ("test", test)):
        twice = f"{name} images are there more than once"
        found += [
            Flaw(
                f"{name} images are among the train images",
                _count(images, train),
                len(images),
                True,
            ),
            Flaw(twice, len(images) - len(np.unique(images)), len(images), True),
            Flaw(
                f"{name} images are among the unlabelled ones",
                _count(images, pool),
                len(images),
                False,
            ),
        ]
    found.append(Flaw("test images are among the val images", _count(test, val), len(test), True))
    twice = len(train) - len(np.unique(train))
    found.append(Flaw("train images are there more than once", twice, len(train), False))
    return [flaw for flaw in found if flaw.number]


def refuse_spoiled(flaws: list[Flaw], limit: float, name: str) -> None:
    """Refuse a data set with more than a share of flawed images in a split.

    Raises:
        ValueError: If there is one.
    """
    spoiled = [str(flaw) for flaw in flaws if flaw.spoils and flaw.number > limit * flaw.of]
    if spoiled:
        raise ValueError(
            f"data={name}: {'; '.join(spoiled)}: results would mean little; mend the files, or "
            "take them as they are by data.max_flawed=1"
        )


def _count(images: np.ndarray, others: np.ndarray) -> int:
    return int(np.isin(images, others).sum())


@cache
def _blank(side: int) -> np.ndarray:
    """Return the hashes of images of one gray all over, black and white among them."""
    digests = (hashlib.sha256(bytes([gray]) * (3 * side**2)).digest() for gray in range(256))
    return np.array([int.from_bytes(digest[:8], "little") for digest in digests], np.uint64)
