"""From the bytes of an image of any format, size and mode to uint8 `(3, side, side)`."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sslbench.files.small import read_small

Item = bytes | Path | Callable[[], Image.Image]
"""An encoded image, its file, or what opens it."""
LARGEST_BYTES = 2**30
"""Of an image's file."""
OVERSAMPLING = 2
"""JPEGs are decoded at a fraction of their size, of at least so many times the side."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""PIL's modes of gray in more than 8 bits."""


def decode(item: Item, side: int) -> np.ndarray:
    """Return the pixels of the largest central square, resized; columns come first.

    Its EXIF orientation is heeded; gray and palettes become RGB, and transparency is left out. PIL
    computes in integers, so that every machine gets the same bytes.

    Returns:
        uint8 `(3, side, side)`, of which the second dimension is the column.

    Raises:
        Exception: Of whatever kind, if it is no image or a broken one.
    """
    image = _open(item)
    image.draft(None, (OVERSAMPLING * side, OVERSAMPLING * side))
    ImageOps.exif_transpose(image, in_place=True)
    image = _to_rgb(image)
    shorter = min(image.size)
    left, top = ((length - shorter) / 2 for length in image.size)
    box = (left, top, left + shorter, top + shorter)
    square = image.resize((side, side), Image.Resampling.BICUBIC, box)
    pixels = np.frombuffer(square.tobytes(), np.uint8)
    return pixels.reshape(side, side, 3).transpose(2, 1, 0)


def _open(item: Item) -> Image.Image:
    if callable(item):
        return item()
    encoded = read_small(item, LARGEST_BYTES) if isinstance(item, Path) else item
    return Image.open(io.BytesIO(encoded))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values // 256).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
