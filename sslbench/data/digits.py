"""The built-in stand-in: scikit-learn's handwritten digits, drawn at 96x96 in seeded colours.

Real handwriting (Alpaydin and Kaynak, 1,797 images of 8x8 pixels), no download; written once in
STL-10's layout, so that everything after this file is the same as for STL-10.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from sslbench.data.layout import FOLDER, SIDE, write_layout

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELED_PER_CLASS = 6
NUM_UNLABELED = 1200
SEED = 0
VERSION = "digits-v1"


def draw(strokes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw `(N, 8, 8)` strokes in [0, 1] as `(N, 3, 96, 96)` uint8 on a ground of another colour.

    Ground and ink differ by at least 0.35 in luminance.
    """
    from PIL import Image

    images = np.empty((len(strokes), 3, SIDE, SIDE), dtype=np.uint8)
    for index, stroke in enumerate(strokes):
        picture = Image.fromarray((stroke * 255).round().astype(np.uint8))
        mask = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
        ground, ink = _colors(generator)
        mixed = ground[:, None, None] + mask * (ink - ground)[:, None, None]
        images[index] = (mixed * 255).round()
    return images


def _colors(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    luminance = np.array([0.299, 0.587, 0.114])
    while True:
        ground, ink = generator.random((2, 3))
        if abs((ground - ink) @ luminance) >= 0.35:
            return ground, ink


def digits_root(cache: Path) -> Path:
    """Return the folder that holds the stand-in, written on first use.

    Two processes may race: each writes a folder of its own, and the first rename wins.
    """
    root = cache / VERSION
    if not root.exists():
        from sklearn.datasets import load_digits  # 2 s to import: only on first use

        digits = load_digits()
        generator = np.random.Generator(np.random.PCG64(SEED))
        order = generator.permutation(len(digits.target))
        images = draw(digits.images[order] / 16, generator)
        labels = digits.target[order].astype(np.int64)
        rank = np.empty_like(labels)
        for label in range(len(CLASS_NAMES)):
            members = labels == label
            rank[members] = np.arange(members.sum())
        labeled = rank < LABELED_PER_CLASS
        rest = np.flatnonzero(~labeled)
        unlabeled, test = rest[:NUM_UNLABELED], rest[NUM_UNLABELED:]

        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{VERSION}.", dir=cache))
        write_layout(
            temporary / FOLDER,
            CLASS_NAMES,
            {
                "train": (images[labeled], labels[labeled]),
                "test": (images[test], labels[test]),
                "unlabeled": (images[unlabeled], None),
            },
        )
        try:
            temporary.rename(root)
        except OSError:  # another process was faster
            shutil.rmtree(temporary)
            assert root.exists(), "the stand-in could not be written"
    return root
