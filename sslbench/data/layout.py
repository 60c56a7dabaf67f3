"""STL-10's binary layout: memory-mapped images, checked before use.

`<root>/stl10_binary/` holds uint8 images one after the other, 3 channels x 96 columns x 96 rows,
and uint8 labels 1 .. number of classes (Coates et al. 2011).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = "stl10_binary"
SIDE = 96
IMAGE_BYTES = 3 * SIDE * SIDE
SPLITS = ("train", "test")
NUM_FOLDS = 10


@dataclass(frozen=True)
class Layout:
    """The files of one data set. Images are `(N, 3, 96 rows, 96 columns)` uint8, labels int64."""

    class_names: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    unlabeled_images: np.ndarray
    folds: tuple[np.ndarray, ...]
    """Ten lists of train positions; none where the set has no folds."""


def read_layout(root: Path) -> Layout:
    """Map a data set's images into memory, and read its labels, classes and folds.

    Raises:
        ValueError: If a file is missing, cut short, or does not fit the others.
    """
    folder = root / FOLDER
    class_names = _read_class_names(folder / "class_names.txt")
    images = {name: _map_images(folder / f"{name}_X.bin") for name in (*SPLITS, "unlabeled")}
    labels = {}
    for name in SPLITS:
        path = folder / f"{name}_y.bin"
        labels[name] = _read_labels(path, len(class_names))
        if len(labels[name]) != len(images[name]):
            raise ValueError(
                f"{path}: {len(labels[name])} labels for the {len(images[name])} images of "
                f"{name}_X.bin; get both files anew"
            )
    return Layout(
        class_names=class_names,
        train_images=images["train"],
        train_labels=labels["train"],
        test_images=images["test"],
        test_labels=labels["test"],
        unlabeled_images=images["unlabeled"],
        folds=_read_folds(folder / "fold_indices.txt", len(images["train"])),
    )


def fingerprint(root: Path) -> str:
    """Hash sizes, ends and labels of a data set's files to 16 hex digits, in milliseconds."""
    digest = hashlib.blake2b(digest_size=8)
    for name in ("train_X", "train_y", "test_X", "test_y", "unlabeled_X"):
        path = root / FOLDER / f"{name}.bin"
        size = _existing(path).stat().st_size
        digest.update(f"{name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read() if name.endswith("y") else file.read(65536))
            file.seek(max(0, size - 65536))
            digest.update(file.read())
    return digest.hexdigest()


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: missing; STL-10's binary layout has it")
    return path


def _map_images(path: Path) -> np.ndarray:
    size = _existing(path).stat().st_size
    if size == 0 or size % IMAGE_BYTES:
        raise ValueError(
            f"{path}: {size} bytes are no whole number of 96x96 images of {IMAGE_BYTES} bytes; "
            "the file is truncated or damaged: delete it and get it anew"
        )
    columns = np.memmap(path, dtype=np.uint8, mode="r", shape=(size // IMAGE_BYTES, 3, SIDE, SIDE))
    return columns.swapaxes(2, 3)


def _read_labels(path: Path, num_classes: int) -> np.ndarray:
    labels = np.fromfile(_existing(path), dtype=np.uint8)
    wrong = np.flatnonzero((labels < 1) | (labels > num_classes))
    if len(wrong):
        raise ValueError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]} lies outside "
            f"1..{num_classes} ({len(wrong)} such labels); get the file anew"
        )
    return labels.astype(np.int64) - 1


def _read_class_names(path: Path) -> tuple[str, ...]:
    names = tuple(_existing(path).read_text().split())
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"{path}: {len(names)} names; it needs one name a line, each once")
    return names


def _read_folds(path: Path, num_train: int) -> tuple[np.ndarray, ...]:
    if not path.exists():
        return ()
    try:
        folds = tuple(
            np.array([int(word) for word in line.split()], dtype=np.int64)
            for line in path.read_text().splitlines()
            if line.strip()
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}; it needs positions in train_X.bin") from error
    outside = any(len(fold) == 0 or fold.min() < 0 or fold.max() >= num_train for fold in folds)
    if len(folds) != NUM_FOLDS or outside:
        raise ValueError(
            f"{path}: {len(folds)} folds; it needs {NUM_FOLDS} lines of positions below {num_train}"
        )
    return folds


def write_layout(
    folder: Path,
    class_names: tuple[str, ...],
    splits: dict[str, tuple[np.ndarray, np.ndarray | None]],
) -> None:
    """Write images `(N, 3, 96, 96)` uint8 and labels `(N,)` 0.. of each split into a folder."""
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(class_names) + "\n")
    for name, (images, labels) in splits.items():
        np.ascontiguousarray(images.swapaxes(2, 3)).tofile(folder / f"{name}_X.bin")
        if labels is not None:
            (labels + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
