"""Embeddings in the plane: t-SNE and PCA as data, with numbers that say how far to trust them."""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from sslbench.atomic import replace_file
from sslbench.randomness import derive_seed

MAX_POINTS = 500
PERPLEXITY = 30.0
ITERATIONS = 350
"""A third of scikit-learn's: the KL divergence ends within 6 % of where 1,000 lead."""
NEIGHBORS = 10
START_SCALE = 1e-4
"""Standard deviation of the first coordinate that t-SNE starts from, as scikit-learn has it."""
UNREADABLE = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)
"""What reading a torn or foreign npz raises."""
VERSION = 1
"""Of how coordinates are made; they are made anew where it differs."""


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


Projections = dict[str, list[Projection]]
"""Projections by `pca` and `tsne`, one for each snapshot."""


@dataclass(frozen=True)
class Embeddings:
    """`(n, D)` floats with their `(n,)` labels and `(n,)` positions in the data set."""

    values: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def read_embeddings(path: Path) -> Embeddings:
    """Read what `results.save_embeddings` wrote.

    Raises:
        ValueError: If the file cannot be read, or what it holds cannot be projected.
    """
    try:
        with np.load(path) as file:
            found = Embeddings(
                file["embeddings"].astype(np.float32), file["labels"], file["indices"]
            )
    except UNREADABLE as error:
        raise ValueError(f"{path}: not a file of embeddings ({error})") from error
    if found.values.ndim != 2 or not len(found.values) == len(found.labels) == len(found.indices):
        raise ValueError(f"{path}: arrays that do not belong together")
    if not found.values.size:
        raise ValueError(f"{path}: no embeddings in it")
    if not np.isfinite(found.values).all():
        raise ValueError(f"{path}: embeddings are not finite")
    return found


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


def measure(embeddings: np.ndarray, coordinates: np.ndarray, labels: np.ndarray) -> Numbers:
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


def choose_same(snapshots: Sequence[Embeddings], num_points: int = MAX_POINTS) -> list[Embeddings]:
    """Take the same points, chosen once, from snapshots of the same images.

    Raises:
        ValueError: If the snapshots are not of the same images.
    """
    first = snapshots[0]
    if any(not np.array_equal(each.indices, first.indices) for each in snapshots):
        raise ValueError("the snapshots are not of the same images")
    chosen = choose_points(first.labels, num_points)
    return [
        Embeddings(each.values[chosen], each.labels[chosen], each.indices[chosen])
        for each in snapshots
    ]


def kept_projections(path: Path, snapshots: Sequence[Embeddings]) -> Projections | None:
    """Read what `project_snapshots` kept in `path`; None if that is not of these snapshots."""
    try:
        with np.load(path) as file:
            if str(file["key"]) != _key(snapshots):
                return None
            return {
                name: [
                    Projection(points, file["labels"], Numbers(*numbers.tolist()))
                    for points, numbers in zip(file[name], file[f"{name}_numbers"], strict=True)
                ]
                for name in ("pca", "tsne")
            }
    except UNREADABLE:
        return None  # none yet, or not ours: made anew


def project_snapshots(path: Path, snapshots: Sequence[Embeddings]) -> Projections:
    """Project snapshots of the same images, and keep coordinates and numbers in `path` (npz)."""
    values, labels = [each.values for each in snapshots], snapshots[0].labels
    coordinates = {"pca": [project_pca(each) for each in values], "tsne": align_tsne(values)}
    found = {
        name: [
            Projection(points, labels, measure(each, points, labels))
            for each, points in zip(values, places, strict=True)
        ]
        for name, places in coordinates.items()
    }
    arrays = {"key": np.array(_key(snapshots)), "labels": labels, "indices": snapshots[0].indices}
    for name, projections in found.items():
        arrays[name] = np.stack([each.coordinates for each in projections])
        arrays[f"{name}_numbers"] = np.array(
            [list(asdict(each.numbers).values()) for each in projections]
        )
    arrays["numbers"] = np.array([field.name for field in fields(Numbers)])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: np.savez_compressed(file, **arrays))
    return found


def _key(snapshots: Sequence[Embeddings]) -> str:
    """Hash all that coordinates and numbers depend on."""
    settings = [VERSION, PERPLEXITY, ITERATIONS, NEIGHBORS]
    settings += [each.values.shape for each in snapshots]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for array in (*(each.values for each in snapshots), snapshots[0].labels):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
