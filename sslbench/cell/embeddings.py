"""The files of embeddings that a cell keeps: of its validation and test images, and snapshots."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sslbench.atomic import replace_file

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDINGS = "embeddings-{}.npz"
"""Name of the file of a split's embeddings."""
UNREADABLE = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)
"""What reading a torn or foreign npz raises."""


@dataclass(frozen=True)
class Embeddings:
    """`(n, D)` float32 with their `(n,)` labels and `(n,)` positions in the data set."""

    values: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def save_embeddings(
    path: Path, embeddings: "Tensor", labels: "Tensor", indices: np.ndarray, **more: np.ndarray
) -> None:
    """Save `(n, D)` float32 embeddings with their `(n,)` labels and positions, whole or not at all.

    Args:
        more: Further arrays by name, such as the images' `logits`, `(n, C)`.
    """
    arrays = {"embeddings": embeddings.cpu().numpy(), "labels": labels.cpu().numpy()}
    replace_file(path, lambda file: np.savez(file, **arrays, indices=indices, **more))


def read_embeddings(path: Path) -> Embeddings:
    """Read what `save_embeddings` wrote.

    Raises:
        ValueError: If the file cannot be read, or what it holds cannot be projected.
    """
    try:
        with np.load(path) as file:
            values = file["embeddings"].astype(np.float32)
            found = Embeddings(values, file["labels"], file["indices"])
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a file of embeddings ({error})") from error
    if found.values.ndim != 2 or not len(found.values) == len(found.labels) == len(found.indices):
        raise ValueError(f"{path}: arrays that do not belong together")
    if not found.values.size:
        raise ValueError(f"{path}: no embeddings in it")
    if not np.isfinite(found.values).all():
        raise ValueError(f"{path}: embeddings are not finite")
    return found


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n,)` positions of images, and `(n,)` bools: whether each was classified right.

    Raises:
        ValueError: If the file cannot be read, or holds no logits for its images.
    """
    try:
        with np.load(path) as file:
            indices, labels, logits = file["indices"], file["labels"], file["logits"]
        if not (logits.ndim == 2 and indices.shape == labels.shape == logits.shape[:1]):
            raise ValueError("arrays that do not belong together")
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a file of predictions ({error})") from error
    return indices, logits.argmax(1) == labels
