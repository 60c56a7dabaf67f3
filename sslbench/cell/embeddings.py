"""The files of embeddings that a cell keeps: of its validation and test images, and snapshots."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sslbench.files.atomic import replace_file
from sslbench.files.zips import load_arrays

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDINGS = "embeddings-{}.npz"
"""Name of the file of a split's embeddings."""


class Embeddings(NamedTuple):
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
    found = _read(path, "embeddings")
    if not (found.values.size and np.isfinite(found.values).all()):
        raise ValueError(f"{path}: its embeddings are none, or not finite")
    return found._replace(values=found.values.astype(np.float32, copy=False))


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n,)` positions of images, and `(n,)` bools: whether each was classified right.

    Raises:
        ValueError: If the file cannot be read, or holds no logits for its images.
    """
    logits, labels, indices = _read(path, "logits")
    return indices, logits.argmax(1) == labels


def _read(path: Path, name: str) -> Embeddings:
    names = (name, "labels", "indices")
    arrays = load_arrays(path, *names)
    missing = [key for key in names if key not in arrays]
    if missing:
        raise ValueError(f"{path}: not a file of {name}: no {' and no '.join(missing)}")
    found = Embeddings(arrays[name], arrays["labels"], arrays["indices"])
    if not found.values.ndim == 2 or len({len(found.values), *map(np.size, found[1:])}) > 1:
        raise ValueError(f"{path}: arrays that do not belong together")
    return found
