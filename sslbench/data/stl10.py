"""STL-10 (Coates et al. 2011): what the official files are."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from sslbench.config.data import Data
from sslbench.config.parts import EXECUTION, IMAGE_SIDE
from sslbench.config.paths import expand
from sslbench.config.ranges import require
from sslbench.data.content import memory_of
from sslbench.data.download import Unavailable, file_md5
from sslbench.data.layout import (
    CLASS_NAMES,
    FOLDER,
    IMAGE_SHAPE,
    NUM_FOLDS,
    Layout,
    read_layout,
)
from sslbench.data.stl10_archive import OFFICIAL, Release, how_to_get, obtain_stl10
from sslbench.files.checksums import read_sealed, write_sealed

log = logging.getLogger(__name__)

CLASS_ORDER = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


@dataclass
class STL10(Data):
    """STL-10, downloaded where it is missing; its files must be the official ones."""

    release: ClassVar[Release] = OFFICIAL

    kind: str = "stl10"
    download: bool = field(default=True, metadata=EXECUTION)
    url: str = field(
        default="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", metadata=EXECUTION
    )
    """Where STL-10's archive is, or a mirror of it (http, https or file)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = f"data={self.kind} has images of {IMAGE_SIDE} pixels"
        require(self.side == IMAGE_SIDE, "data.side", self.side, rule)
        require(self.name in ("", self.kind), "data.name", self.name, "STL-10 keeps its own name")
        if self.url.startswith("file:"):
            self.url = expand("data.url", self.url)

    def obtain(self) -> None:
        """Download the files if need be.

        Raises:
            Unavailable: If there is no way to them from here.
            ValueError: If a download broke off.
        """
        folder = Path(self.root) / FOLDER
        if not self.download and not folder.exists():
            raise Unavailable(f"{folder} does not exist and data.download=false")
        obtain_stl10(Path(self.root), self.url, self.release)

    def concrete(self, outputs: Path) -> Data:
        try:
            self.obtain()
        except Unavailable as error:
            raise self._not_there(str(error)) from error
        return super().concrete(outputs)

    def open(self, outputs: Path) -> Layout:
        folder = Path(self.root) / FOLDER
        if not folder.exists():
            raise self._not_there(f"{folder} does not exist")
        return open_stl10(Path(self.root), memory_of(outputs), self.release)

    def would_download(self) -> bool:
        return self.download and not (Path(self.root) / FOLDER).exists()

    def undownloaded(self) -> Data:
        return self.named()

    def files_undownloaded(self) -> Layout:
        numbers = {it: getattr(self.release, f"num_{it}") for it in ("train", "test", "unlabeled")}
        rounds, num_classes = np.arange(numbers["train"]) // len(CLASS_ORDER), len(CLASS_ORDER)
        return Layout(
            CLASS_ORDER,
            {it: np.broadcast_to(np.uint8(0), (n, *IMAGE_SHAPE)) for it, n in numbers.items()},
            {it: np.arange(numbers[it]) % num_classes for it in ("train", "test")},
            tuple(np.flatnonzero(rounds % 5 == fold % 5) for fold in range(NUM_FOLDS)),
            fingerprint="",
            hashes={},
        )

    def named(self) -> Self:
        return replace(self, name=self.kind)

    def of(self, files: Layout) -> Self:
        """Return the same; only the folds are not known from their official checksums."""
        found = super().of(files)
        return found if self.fold is not None else replace(found, fingerprint="")

    def _not_there(self, reason: str) -> ValueError:
        return ValueError(
            f"data=stl10: STL-10 is not there\n"
            f"  Why: {reason}.\n"
            f"{how_to_get(Path(self.root), self.url, self.release)}\n"
            "  data=digits runs without it, on the built-in stand-in."
        )


def open_stl10(root: Path, memory: Path, release: Release = OFFICIAL) -> Layout:
    """Open `<root>/stl10_binary`, whose files must be the official ones.

    Args:
        memory: Where hashes of files are remembered, and what they were compared with.

    Raises:
        ValueError: If one is missing, of another size or of other content.
    """
    folder = root / FOLDER
    remedy = (
        "if this is other data in STL-10's layout, use data=layout; if it is STL-10, copy the file "
        f"again, or move {folder} away and run again to download it"
    )
    layout = read_layout(folder, remedy, memory)
    for split, images in layout.images.items():
        found, expected = len(images), getattr(release, f"num_{split}")
        if found != expected:
            path = folder / f"{split}_X.bin"
            raise ValueError(f"{path}: {found:,} images, expected STL-10's {expected:,}; {remedy}")
    _verify_contents(layout, folder, release, remedy, memory)
    return layout


def _verify_contents(
    layout: Layout, folder: Path, release: Release, remedy: str, memory: Path
) -> None:
    """Compare the files with STL-10's; what has passed once is known by its fingerprint."""
    if layout.class_names != CLASS_ORDER:
        raise ValueError(
            f"{folder / CLASS_NAMES}: {', '.join(layout.class_names)}: expected STL-10's classes "
            f"in their order, {', '.join(CLASS_ORDER)}; {remedy}"
        )
    passed = memory / f"stl10-{layout.fingerprint}.json"
    with suppress(OSError, ValueError):  # not yet, or torn
        if read_sealed(passed) == {"md5s": dict(release.md5s)}:
            return
    log.info("checking the MD5 of the files in %s", folder)
    for name, md5 in release.md5s.items():
        found = file_md5(folder / name)
        if found != md5:
            raise ValueError(f"{folder / name}: md5 {found}, expected STL-10's {md5}; {remedy}")
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(passed, {"md5s": dict(release.md5s)})
    except OSError as error:
        log.info("%s cannot be written (%s): the check is repeated each time", passed, error)
