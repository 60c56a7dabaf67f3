"""What a data set declares of itself: where its images are, how they are split, and how to open it.

Each kind of data is a part of its own, in `sslbench/data/` or outside the package, as an encoder
is; `conf/data/` names their classes.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from omegaconf import MISSING

from sslbench.config.parts import EXECUTION, IMAGE_SIDE, Part
from sslbench.config.paths import expand
from sslbench.config.ranges import (
    LARGEST_SEED,
    fraction,
    not_negative,
    one_of,
    positive,
    require,
)

if TYPE_CHECKING:
    from sslbench.data.layout import Layout

SMALLEST_SIDE, LARGEST_SIDE = 32, 224
RESERVED = ("stl10", "digits", "auto")
"""What only the sets of these names are called: tables put the first beside the paper's."""
SHARE = re.compile(r"(\d{1,2}|\d{1,2}\.\d{1,6}|100)%")
MOST_LABELED = 10**9
SAFE_LENGTH = 40


@dataclass
class Data(Part):
    """Which images, and how they are split."""

    kind: str = MISSING
    """The choice of this group: how the images lie on the disk."""
    name: str = field(default="", metadata=EXECUTION)
    """What folders, tables and cards call the set; empty: as the folder that holds it is called."""
    root: str = field(default="data", metadata=EXECUTION)
    """The folder that holds the images."""
    side: int = IMAGE_SIDE
    """Of all images, in pixels."""
    fold: int | None = None
    """One of the ten official folds of labelled images, where the set has them; none: all."""
    num_labeled: int | str | None = None
    """How many labelled images are learnt from: a number takes equally many of each class, a share
    such as `1%` or `10%` that share of each class, at least one; none: all of them."""
    split_seed: int = 0
    """Seed of the splits and of the choice of labelled images; apart from the run's own seed."""
    val_from: str = "auto"
    """What validation images are cut from, class by class: the `test` images (the paper) or the
    `train` images; `auto`: the set's own validation images if it has any, else from `test`, and
    from `train` where that is itself a cut."""
    val_fraction: float = 0.2
    """The share that is cut from them (paper: 1 : 4). Reading: stratified by class."""
    test_fraction: float = 0.2
    """Share of the train images that is the test, class by class, where the set has no test."""
    unlabeled_from: str = "unlabeled"
    """Images to learn from without labels: the set's `unlabeled` ones; or its `train` images, all
    but those that are held out, whether or not their labels are learnt from too."""
    fingerprint: str = ""
    """What tells this data set from others, by every byte; found when the data is opened."""
    max_flawed: float = field(default=0.01, metadata=EXECUTION)
    """Share of a split's images that may be blank, or there twice, in one split or in two."""

    def __post_init__(self) -> None:
        self.root = expand("data.root", self.root)
        in_range = SMALLEST_SIDE <= self.side <= LARGEST_SIDE
        rule = f"must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
        require(in_range, "data.side", self.side, rule)
        if self.fold is not None:
            require(0 <= self.fold <= 9, "data.fold", self.fold, "must be 0 to 9")
        _require_number(self.num_labeled)
        not_negative("data.split_seed", self.split_seed, LARGEST_SEED)
        one_of("data.val_from", self.val_from, ("auto", "test", "train"))
        for name in ("val_fraction", "test_fraction"):
            share = getattr(self, name)
            require(0 < share < 1, f"data.{name}", share, "must be above 0 and below 1")
        one_of("data.unlabeled_from", self.unlabeled_from, ("unlabeled", "train"))
        fraction("data.max_flawed", self.max_flawed)
        is_digest = re.fullmatch(r"|[0-9a-f]{16}", self.fingerprint) is not None
        require(is_digest, "data.fingerprint", self.fingerprint, "must be 16 hex digits")
        if self.name in RESERVED and self.kind not in RESERVED:
            raise ValueError(f"data.name={self.name}: is what another set is called; pick another")

    def open(self, outputs: Path) -> "Layout":
        """Open the images, memory-mapped.

        Args:
            outputs: Caches go below it.

        Raises:
            ValueError: If they are missing, damaged or others than `fingerprint` says.
        """
        raise NotImplementedError

    def concrete(self, outputs: Path) -> "Data":
        """Settle what the data is, by opening it: its name, and what tells it from others.

        Raises:
            ValueError: If the data is not there, or a download broke off.
        """
        return self.named().of(self.open(outputs))

    def would_download(self) -> bool:
        """Whether opening it would download gigabytes."""
        return False

    def undownloaded(self) -> "Data":
        """Return what is taken for the concrete data where nothing may be downloaded."""
        return self

    def files_undownloaded(self) -> "Layout":
        """Return its files without what is in them: their numbers of images, and labels."""
        raise NotImplementedError

    def named(self) -> Self:
        """Return the same with a name: as given, else its folder's."""
        name = self.name or Path(self.root).resolve().name or self.kind
        # What is called stl10 was not checked to be that.
        return replace(self, name=f"{self.kind}-{name}" if name in RESERVED else name)

    def of(self, files: "Layout") -> Self:
        """Return the same for known contents."""
        return replace(self, fingerprint=files.fingerprint)

    def require(self, found: str, where: Path | str) -> None:
        """Refuse another data set than `fingerprint` says.

        Raises:
            ValueError: If they differ.
        """
        if self.fingerprint not in ("", found):
            raise ValueError(
                f"{where}: its fingerprint is {found}, expected data.fingerprint="
                f"{self.fingerprint}: the files are others, or changed; leave data.fingerprint out "
                "to take them as they are"
            )

    @property
    def safe_name(self) -> str:
        """Its name in letters, digits, `_` and `.`, for folders and ids."""
        words = re.sub(r"[^\w.]+", "_", self.name, flags=re.ASCII).strip("_.")
        return words[:SAFE_LENGTH] or self.kind


def _require_number(num_labeled: int | str | None) -> None:
    if isinstance(num_labeled, str):
        found = SHARE.fullmatch(num_labeled)
        rule = "must be a whole number, or a share such as 1% or 10%"
        is_share = found is not None and float(found[1]) > 0
        require(is_share, "data.num_labeled", num_labeled, rule)
    elif num_labeled is not None:
        positive("data.num_labeled", num_labeled, MOST_LABELED)


def share_of(num_labeled: str) -> float:
    """Return `0.01` of `1%`."""
    return float(num_labeled.removesuffix("%")) / 100
