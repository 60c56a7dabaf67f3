"""How far classes part in a split's embeddings, and in how many dimensions these lie."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from joblib import hash as hash_of

from sslbench.cell.embeddings import Embeddings
from sslbench.files.atomic import replace_file
from sslbench.files.zips import load_arrays
from sslbench.machine.threads import allowed_threads

FOLDS = 5
ITERATIONS = 100
"""Of real encoders' embeddings, at most 1.5 points from where 1,000 lead, in half the time of 200.
"""
MEASURES = ("probe", "knn", "kind", "dimension")
ANIMALS = {"bird", "cat", "deer", "dog", "hoofed_mammal", "horse", "monkey"}
VEHICLES = {"airplane", "boat", "bus", "car", "ship", "train", "truck"}
"""Of STL-10's classes, and of sets like it."""


def measure_all(
    snapshots: Sequence[Embeddings], class_names: Sequence[str], k: int, l2: float, store: Path
) -> list[dict[str, float]]:
    """Measure embeddings at the same time; `store` keeps the numbers for the next time."""
    once = delayed(partial(_measure_once, store, kinds_of(class_names), k, l2))
    # Threads: what computes lets others run, and torch is imported once.
    return Parallel(allowed_threads(), backend="threading")(map(once, snapshots))


def kinds_of(class_names: Sequence[str]) -> np.ndarray | None:
    """Return for each class whether it is a vehicle, `(C,)` bools; None unless all are known."""
    if not set(class_names) <= ANIMALS | VEHICLES:
        return None
    return np.array([name in VEHICLES for name in class_names])


def _measure_once(
    store: Path, kinds: np.ndarray | None, k: int, l2: float, snapshot: Embeddings
) -> dict[str, float]:
    key = hash_of([FOLDS, kinds, k, l2, snapshot.values, snapshot.labels])
    path = store / f"separation-{key}.npz"
    try:
        return dict(zip(MEASURES, load_arrays(path)["numbers"].tolist(), strict=True))
    except (ValueError, KeyError):  # none yet, or a damaged one
        found = measure(snapshot.values, snapshot.labels, kinds, k, l2)
    store.mkdir(parents=True, exist_ok=True)
    numbers = [found[name] for name in MEASURES]
    replace_file(path, lambda file: np.savez(file, numbers=numbers))
    return found


def measure(
    embeddings: np.ndarray, labels: np.ndarray, kinds: np.ndarray | None, k: int, l2: float
) -> dict[str, float]:
    """Measure `(n, D)` float32 embeddings with their `(n,)` labels, by five-fold cross-validation.

    Args:
        kinds: `(C,)` bools by class, whether it is a vehicle.
        k: Neighbours that vote, at most.
        l2: Penalty of the linear probe.

    Returns:
        `probe` and `knn`: shares of images whose class the linear probe and the nearest
        neighbours of a cell's evaluation find, from the other folds' images; `kind`: whose kind
        the probe finds, animal or vehicle; NaN if undefined. `dimension`: the participation ratio
        of the covariance's eigenvalues, their squared sum over the sum of their squares, from 1
        (a line) to D; 0 if all embeddings are alike.
    """
    found = dict.fromkeys(MEASURES, float("nan")) | {"dimension": _dimension(embeddings)}
    if len(labels) < 2 * FOLDS:
        return found
    fold = np.empty_like(labels)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS  # classes in each
    probed, voted = labels.copy(), labels.copy()
    for number in range(FOLDS):
        held_out, rest = fold == number, fold != number
        images = embeddings[rest], labels[rest], embeddings[held_out]
        probed[held_out], voted[held_out] = _probe(*images, l2), _vote(*images, k)
    found |= {"probe": float((probed == labels).mean()), "knn": float((voted == labels).mean())}
    if kinds is not None:
        found["kind"] = float((kinds[probed] == kinds[labels]).mean())
    return found


def _probe(x: np.ndarray, y: np.ndarray, queries: np.ndarray, l2: float) -> np.ndarray:
    """Classify by the linear probe that cells are evaluated with, less exactly and much faster."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) == 1:
        return np.full(len(queries), y[0])
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=1 / l2, max_iter=ITERATIONS).fit((x - mean) / scale, y)
    return fitted.predict((queries - mean) / scale)


def _vote(x: np.ndarray, y: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    import torch

    from sslbench.evaluate.probe import knn_predict

    tensors = (torch.from_numpy(each) for each in (x, y.astype(np.int64), queries))
    return knn_predict(*tensors, k).numpy()


def _dimension(embeddings: np.ndarray) -> float:
    centred = embeddings.astype(np.float64) - embeddings.mean(0)
    covariance = centred.T @ centred
    squares = np.square(covariance).sum()
    return float(np.trace(covariance) ** 2 / squares) if squares > 0 else 0.0
