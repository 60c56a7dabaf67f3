"""Files of embeddings, as a cell's evaluation writes them."""

from pathlib import Path

import numpy as np
from torch import Tensor

from sslbench.atomic import replace_file

EMBEDDINGS = "embeddings-{}.npz"
"""By split."""


def save_embeddings(
    path: Path, embeddings: Tensor, labels: Tensor, indices: np.ndarray, **more: np.ndarray
) -> None:
    """Save `(n, D)` float32 embeddings with their `(n,)` labels and positions in the file."""
    arrays = {
        "embeddings": embeddings.cpu().numpy(),
        "labels": labels.cpu().numpy(),
        "indices": indices,
        **more,
    }
    replace_file(path, lambda file: np.savez(file, **arrays))
