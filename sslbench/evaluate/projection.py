"""Embeddings in the plane: t-SNE and PCA as data, with numbers that say how far to trust them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.randomness import derive_seed

MAX_POINTS = 500
PERPLEXITY = 30.0
ITERATIONS = 350
"""A third of scikit-learn's: the KL divergence ends within 6 % of where 1,000 lead."""
NEIGHBORS = 10
START_SCALE = 1e-4
"""Standard deviation of the first coordinate that t-SNE starts from, as scikit-learn has it."""


@dataclass(frozen=True)
class Numbers:
    """What a picture cannot show. Each lies in [0, 1], silhouettes in [-1, 1]; NaN if undefined.

    `knn` is the share of points whose `NEIGHBORS` nearest others vote for their label.
    """

    knn: float
    knn_2d: float
    silhouette: float
    silhouette_2d: float
    trustworthiness: float
    """How far neighbours in the plane are neighbours in the embedding (Venna and Kaski 2001)."""


@dataclass(frozen=True)
class Projection:
    """`(n, 2)` float32 coordinates of fixed points with their `(n,)` labels."""

    coordinates: np.ndarray
    labels: np.ndarray
    numbers: Numbers


def choose_points(labels: np.ndarray, num_points: int = MAX_POINTS) -> np.ndarray:
    """Choose at most `num_points` positions, the classes in proportion, the same at each call."""
    rng = np.random.default_rng(derive_seed(0, "embedding points"))
    order = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        place[of_class] = (np.arange(len(of_class)) + rng.random()) / len(of_class)
    return np.sort(np.argsort(place, kind="stable")[:num_points])


def project_pca(embeddings: np.ndarray) -> np.ndarray:
    """`(n, D)` -> `(n, 2)` float32: the two directions of most variance, each axis's sign fixed."""
    centred = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right).argmax(1)
    signs = np.sign(right[np.arange(len(right)), largest])
    coordinates = (left * scale * signs)[:, :2]
    return np.pad(coordinates, ((0, 0), (0, 2 - coordinates.shape[1]))).astype(np.float32)


def project_tsne(embeddings: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """`(n, D)` -> `(n, 2)` float32 by t-SNE (van der Maaten and Hinton 2008).

    Args:
        start: `(n, 2)` coordinates of the same points, shrunk before use. From them no early
            exaggeration follows: it would scatter what is to be kept in place. PCA's by default.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(embeddings) < 4:
        return project_pca(embeddings)
    exaggeration = 12.0 if start is None else 1.0
    start = project_pca(embeddings) if start is None else start
    spread = start[:, 0].std()
    rng = np.random.default_rng(derive_seed(0, "t-SNE"))
    jitter = rng.normal(0, START_SCALE * (1e-2 if spread > 0 else 1), start.shape)
    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(embeddings) - 1) / 3),
        early_exaggeration=exaggeration,
        # Where points coincide, as in a collapsed encoder, only the jitter parts them.
        init=(start * (START_SCALE / spread if spread > 0 else 0) + jitter).astype(np.float32),
        max_iter=ITERATIONS,
        random_state=0,
    )
    with threadpool_limits(1):  # ten times faster at this size: threads wait for each other
        return tsne.fit_transform(embeddings)


def align_tsne(snapshots: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Project `(n, D)` snapshots of the same points, each starting from where the last ended."""
    found: list[np.ndarray] = []
    for embeddings in snapshots:
        found.append(project_tsne(embeddings, found[-1] if found else None))
    return found


def projection_numbers(
    embeddings: np.ndarray, coordinates: np.ndarray, labels: np.ndarray
) -> Numbers:
    """Measure how well classes part in `(n, D)` embeddings and in their `(n, 2)` coordinates."""
    from sklearn.manifold import trustworthiness

    few = len(labels) < 4
    neighbors = min(NEIGHBORS, (len(labels) - 1) // 2)
    return Numbers(
        knn=knn_accuracy(embeddings, labels),
        knn_2d=knn_accuracy(coordinates, labels),
        silhouette=_silhouette(embeddings, labels),
        silhouette_2d=_silhouette(coordinates, labels),
        trustworthiness=float("nan")
        if few
        else float(trustworthiness(embeddings, coordinates, n_neighbors=neighbors)),
    )


def knn_accuracy(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of points that their nearest others vote right; ties go to the nearer."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBORS, len(points) - 1)
    if k < 1:
        return float("nan")
    nearest = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    classes, codes = np.unique(labels, return_inverse=True)
    ballots = np.eye(len(classes))[codes[nearest]] * (1 - 1e-3 * np.arange(k))[:, None]
    return float((ballots.sum(1).argmax(1) == codes).mean())


def _silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # points that coincide
        return float(silhouette_score(points, labels))
