"""The images: STL-10, one's own in any form, or the built-in stand-in."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.config.data import Data
from sslbench.data.audit import Flaw, find_flaws, refuse_spoiled
from sslbench.data.layout import Layout
from sslbench.data.protocol import Protocol, Subset, divide, untested_classes
from sslbench.data.statistics import cached_statistics

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The files of a data set, and which of their images are used for what.

    Statistics are of the train file's pixels by channel.
    """

    name: str
    """`stl10`, `digits`, or what one's own set is called."""
    files: Layout
    splits: Protocol
    mean: tuple[float, float, float]
    """On the scale 0 to 1, as `std` is."""
    std: tuple[float, float, float]
    flaws: list[Flaw]
    """Images that are blank, or there twice."""

    @property
    def notes(self) -> list[str]:
        """What readers of results must know of the images."""
        said = [*self.files.notes, *self.flaws, *untested_classes(self.files, self.splits)]
        return [f"data={self.name}: {it}" for it in said]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of `labeled`, `unlabeled`, `val` and `test` images."""
        return self.splits.counts

    def describe(self) -> dict[str, Any]:
        """Return what a cell's record says of its data."""
        return {
            "name": self.name,
            "fingerprint": self.files.fingerprint,
            "class_names": list(self.files.class_names),
            "side": self.files.side,
            **{f"num_{name}": number for name, number in self.counts.items()},
            "splits": {name: part.file for name, part in self.splits._asdict().items()},
            "mean": list(self.mean),
            "std": list(self.std),
            "flaws": [str(flaw) for flaw in self.flaws],
        }


def open_dataset(data: Data, outputs: Path) -> Dataset:
    """Open concrete data, check its files and choose its images.

    Raises:
        ValueError: If files are missing or damaged, or the settings ask for what is not in them.
    """
    files = data.open(outputs)
    splits = divide(data, files)
    flaws = _find_flaws(data, files, splits)
    mean, std = cached_statistics(files.images["train"], files.fingerprint, outputs)
    return Dataset(data.named().name, files, splits, mean, std, flaws)


def _find_flaws(data: Data, files: Layout, splits: Protocol) -> list[Flaw]:
    def hashes(part: Subset) -> Any:
        return files.hashes[part.file][part.indices] if len(part.indices) else part.indices

    flaws = find_flaws({name: hashes(part) for name, part in splits._asdict().items()}, files.side)
    refuse_spoiled(flaws, data.max_flawed, data.kind)
    return flaws
