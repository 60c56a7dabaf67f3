"""Numbers of embeddings that the report keeps: how far classes part in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from joblib import hash as hash_of

from sslbench.cell.embeddings import Embeddings
from sslbench.files.atomic import replace_file
from sslbench.files.zips import load_arrays

VERSION = 1
"""Of what is measured: another one measures anew."""
ANIMALS = {"bird", "cat", "deer", "dog", "hoofed_mammal", "horse", "monkey"}
VEHICLES = {"airplane", "boat", "bus", "car", "ship", "train", "truck"}
"""Of STL-10's classes, and of sets like it."""


def kinds_of(class_names: Sequence[str]) -> np.ndarray | None:
    """Return for each class whether it is a vehicle, `(C,)` bools; None unless all are known."""
    if not set(class_names) <= ANIMALS | VEHICLES:
        return None
    return np.array([name in VEHICLES for name in class_names])


def measure_once(
    store: Path, snapshot: Embeddings, class_names: Sequence[str], k: int, l2: float
) -> dict[str, float]:
    """Return what `store` keeps of the same embeddings from an earlier time, else `measure` them.

    Kinds of classes are those of STL-10's `class_names`.
    """
    kinds = kinds_of(class_names)
    path = store / f"separation-{hash_of([VERSION, kinds, k, l2, *snapshot[:2]])}.npz"
    try:
        return {name: float(value) for name, value in load_arrays(path).items()}
    except ValueError:  # none yet, or a damaged one
        from sslbench.evaluate.separation import measure  # which needs torch and scikit-learn

        found = measure(*snapshot[:2], kinds, k, l2)
    store.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: np.savez(file, **found))
    return found
