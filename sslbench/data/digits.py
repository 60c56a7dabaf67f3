"""The built-in stand-in: scikit-learn's handwritten digits, drawn at 96x96 in seeded colours."""

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from sslbench.config.data import Data
from sslbench.config.parts import IMAGE_SIDE
from sslbench.config.ranges import require
from sslbench.data.content import memory_of
from sslbench.data.layout import FOLDER, IMAGE_SHAPE, Layout, read_layout, write_layout
from sslbench.data.splits import seeded_order

log = logging.getLogger(__name__)

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELED_PER_CLASS, UNLABELED_PER_CLASS = 6, 120
VERSION = "digits-v1"
"""Names the cached files; another drawing needs another name."""
FINGERPRINT = "0fa70332a54bb1bd"
"""Of all bytes of that drawing."""
SEED = 1797
CELL_PIXELS = 10
"""Side of one of the 8x8 strokes' cells in the 96x96 image."""
WEIGHT_SUM = 2 * (2 * CELL_PIXELS) ** 3
"""What a pixel's interpolation weights add up to."""
INK = 512
"""A pixel that is all foreground."""
COLOR_RANGE = 96
"""Dark colours have channels up to this, light ones from 255 minus this: luminance differs by 63
or more."""


@dataclass
class Digits(Data):
    """The built-in stand-in: needs no files."""

    kind: str = "digits"

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = f"data=digits has images of {IMAGE_SIDE} pixels"
        require(self.side == IMAGE_SIDE, "data.side", self.side, rule)
        require(self.name in ("", self.kind), "data.name", self.name, "it keeps its own name")

    def open(self, outputs: Path) -> Layout:
        return open_digits(outputs)

    def named(self) -> Self:
        return replace(self, name=self.kind)

    def of(self, files: Layout) -> Self:
        return replace(super().of(files), fingerprint="")  # it is always the same


def open_digits(outputs: Path) -> Layout:
    """Open the stand-in, drawing it into `<outputs>/cache` if it is not there.

    60 labelled and 1,200 unlabelled images, and the remaining 537 as the test file.

    Raises:
        ValueError: If the cached files are damaged.
    """
    target = outputs / "cache" / VERSION
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        log.info("drawing the built-in stand-in into %s", target)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".digits-") as temporary:
            drawn = Path(temporary) / VERSION
            _write_digits(drawn / FOLDER)
            try:
                drawn.rename(target)
            except OSError:
                if not target.exists():  # else another process was faster, with the same bytes
                    raise
    remedy = f"delete {target}: it is drawn again"
    layout = read_layout(target / FOLDER, remedy, memory_of(outputs))
    if layout.fingerprint != FINGERPRINT:
        raise ValueError(f"{target}: damaged: not as it was drawn; {remedy}")
    return layout


def _write_digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = draw(digits.images.astype(np.int64)), digits.target
    order = seeded_order(len(labels), SEED)
    of_classes = [order[labels[order] == label] for label in range(len(CLASS_NAMES))]
    last = LABELED_PER_CLASS + UNLABELED_PER_CLASS
    parts = slice(LABELED_PER_CLASS), slice(LABELED_PER_CLASS, last), slice(last, None)
    train, unlabeled, test = (
        _shuffled([of_class[part] for of_class in of_classes]) for part in parts
    )
    of_train, of_test = ((images[part], labels[part]) for part in (train, test))
    write_layout(folder, CLASS_NAMES, of_train, of_test, images[unlabeled])


def _shuffled(parts: list[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts)
    return joined[seeded_order(len(joined), SEED)]


def draw(strokes: np.ndarray) -> np.ndarray:
    """Draw `(N, 8, 8)` int64 strokes from 0 to 16 as uint8 `(N, 3, 96, 96)`.

    In integers throughout, so that every machine draws the same bytes.
    """
    # As floats the products are as exact, being below 2**53, and ten times as fast.
    weights = _interpolation_weights().astype(np.float64)
    ink = (weights @ strokes @ weights.T).astype(np.int64) * INK // (16 * WEIGHT_SUM**2)
    ink = (2 * ink - INK // 2).clip(0, INK)[:, np.newaxis]  # steeper edges than the strokes' own
    ink, foreground, background = (
        array.astype(np.int32) for array in (ink, *_draw_colors(len(strokes)))
    )
    images = np.empty((len(strokes), *IMAGE_SHAPE), np.uint8)
    for image, i, f, b in zip(images, ink, foreground, background, strict=True):
        image[:] = ((f - b) * i + (b * INK + INK // 2)) // INK
    return images


def _interpolation_weights() -> np.ndarray:
    """Return `(96, 8)` int64 weights of cubic (Catmull-Rom) interpolation; around it is no ink."""
    cell, side = 2 * CELL_PIXELS, IMAGE_SHAPE[-1]  # distances are in half pixels
    first = side - 7 * CELL_PIXELS
    rows, centers = np.arange(1, 2 * side, 2), np.arange(first, first + 8 * cell, cell)
    x = np.abs(rows[:, np.newaxis] - centers)
    near = 3 * x**3 - 5 * cell * x**2 + 2 * cell**3
    far = -(x**3) + 5 * cell * x**2 - 8 * cell**2 * x + 4 * cell**3
    return np.where(x < cell, near, np.where(x < 2 * cell, far, 0))


def _draw_colors(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 `(num, 3, 1, 1)` foregrounds and backgrounds: one dark, one light."""
    raw = np.random.PCG64([SEED, 1]).random_raw(num * 7).reshape(num, 7)
    channels = (raw[:, :6] >> np.uint64(32)).astype(np.int64) % (COLOR_RANGE + 1)
    dark, light = channels[:, :3], 255 - channels[:, 3:]
    dark_on_light = (raw[:, 6:] >> np.uint64(63)).astype(bool)
    foreground = np.where(dark_on_light, dark, light)
    background = np.where(dark_on_light, light, dark)
    return foreground[..., np.newaxis, np.newaxis], background[..., np.newaxis, np.newaxis]
