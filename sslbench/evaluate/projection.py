"""Embeddings in the plane: t-SNE as data, with a number that says how far to trust it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import hash as hash_of

from sslbench.files.atomic import replace_file
from sslbench.files.zips import load_arrays

MAX_POINTS = 500
PERPLEXITY = 30.0
ITERATIONS = 350
"""A third of scikit-learn's: the KL divergence ends within 6 % of where 1,000 lead."""
NEIGHBORS = 10


class Projection(NamedTuple):
    """`(n, 2)` float32 coordinates of points, their `(n,)` labels, and how far to trust them."""

    coordinates: np.ndarray
    labels: np.ndarray
    trust: float
    """From 0 to 1, as `trust` has it."""


def choose_points(labels: np.ndarray, num_points: int = MAX_POINTS) -> np.ndarray:
    """Choose at most `num_points` positions, the classes in proportion, the same at each call."""
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    places = np.linspace(0, len(labels) - 1, min(num_points, len(labels)))
    return np.sort(by_class[places.round().astype(int)])


def project_tsne(embeddings: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """`(n, D)` -> `(n, 2)` float32 by t-SNE (van der Maaten and Hinton 2008).

    Args:
        start: `(n, 2)` coordinates of the same points, shrunk before use. From them no early
            exaggeration follows: it would scatter what is to be kept in place. PCA's by default.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(embeddings) == 1:
        return np.zeros((1, 2), np.float32)
    init: str | np.ndarray = "pca"
    if start is not None:
        init = (start * (1e-4 / start.std())).astype(np.float32)  # the spread of PCA's start
    elif min(embeddings.shape) == 1 or not np.ptp(embeddings, axis=0).any():
        init = "random"  # PCA has no plane for these, as of a collapsed encoder
    tsne = TSNE(
        perplexity=min(PERPLEXITY, max(1, (len(embeddings) - 1) / 3)),
        early_exaggeration=12.0 if start is None else 1.0,
        init=init,
        max_iter=ITERATIONS,
        random_state=0,
    )
    with threadpool_limits(1):  # ten times faster at this size: threads wait for each other
        return tsne.fit_transform(embeddings)


def project_snapshots(snapshots: Sequence[np.ndarray], labels: np.ndarray) -> list[Projection]:
    """Project `(n, D)` snapshots of the same points, each starting from where the last ended."""
    found: list[Projection] = []
    for embeddings in snapshots:
        points = project_tsne(embeddings, found[-1].coordinates if found else None)
        found.append(Projection(points, labels, trust(embeddings, points)))
    return found


def project_once(
    store: Path, snapshots: Sequence[np.ndarray], labels: np.ndarray
) -> list[Projection]:
    """Return what `store` keeps of the same snapshots from an earlier call, else project them."""
    path = store / f"{hash_of([PERPLEXITY, ITERATIONS, NEIGHBORS, snapshots, labels])}.npz"
    try:
        kept = load_arrays(path)
        planes = zip(kept["coordinates"], kept["trust"].tolist(), strict=True)
        return [Projection(plane, labels, value) for plane, value in planes]
    except (ValueError, KeyError):  # none yet, or a damaged one
        found = project_snapshots(snapshots, labels)
    arrays = {"coordinates": [each.coordinates for each in found]}
    arrays["trust"] = [each.trust for each in found]
    store.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: np.savez(file, **arrays))
    return found


def trust(embeddings: np.ndarray, plane: np.ndarray) -> float:
    """Return how far neighbours in the `(n, 2)` plane are neighbours in the `(n, D)` embeddings.

    The trustworthiness of Venna and Kaski 2001, from 0 to 1; NaN if undefined.
    """
    from sklearn.manifold import trustworthiness
    from threadpoolctl import threadpool_limits

    others = len(embeddings) - 1
    if others < 2:
        return float("nan")
    with threadpool_limits(1):
        return trustworthiness(embeddings, plane, n_neighbors=min(NEIGHBORS, others // 2))
