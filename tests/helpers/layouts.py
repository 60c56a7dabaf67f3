"""Tiny made-up data sets in STL-10's binary layout, written byte by byte as the layout says."""

import hashlib

import numpy as np

from sslbench.data.stl10_archive import Release

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def make_layout(root, *, num_train=20, num_test=30, num_unlabeled=30, folds=False, seed=0):
    """Write `<root>/stl10_binary` and return it; labels go round the classes, pixels are noise."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for split, num in (("train", num_train), ("test", num_test), ("unlabeled", num_unlabeled)):
        (folder / f"{split}_X.bin").write_bytes(rng.bytes(num * 3 * 96 * 96))
        if split != "unlabeled":
            labels = bytes(position % len(CLASSES) + 1 for position in range(num))
            (folder / f"{split}_y.bin").write_bytes(labels)
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
    if folds:
        half = num_train // 2
        lines = [" ".join(str((fold + i) % num_train) for i in range(half)) for fold in range(10)]
        (folder / "fold_indices.txt").write_text(" \n".join(lines) + " \n")
    return folder


def make_release(folder, archive=None):
    """Return what STL-10's files would be if these were the official ones."""
    images = [folder / f"{split}_X.bin" for split in ("train", "test", "unlabeled")]
    return Release(
        archive.stat().st_size if archive else 1,
        md5(archive) if archive else "",
        *(path.stat().st_size // (3 * 96 * 96) for path in images),
        md5s={path.name: md5(path) for path in sorted(folder.glob("*.bin"))},
    )


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()
