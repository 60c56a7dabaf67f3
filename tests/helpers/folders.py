"""Folders of small images, as people have them."""

import numpy as np
from PIL import Image


def make_image(size=(40, 30), seed=0, mode="RGB"):
    """Return noise of a size, width first."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def make_folders(root, *, classes=("cat", "dog"), suffix="png", **numbers):
    """Write so many images a class of each split, as in `train=6, test=4`; `unlabeled` in all."""
    seed = 0
    for split, number in numbers.items():
        for name in (".",) if split == "unlabeled" else classes:
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(number):
                seed += 1
                make_image((40 + i, 34), seed).save(folder / f"{i:03d}.{suffix}")
    return root
