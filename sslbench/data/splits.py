"""Which images belong to which split: pure functions of a seed."""

import numpy as np

from sslbench.config.settings import Ratio


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode()]))


def split_validation(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `(N,)` labels into sorted validation and test positions, stratified by class.

    Each class gives its share, rounded, to validation, but keeps an image for the test where it
    has more than one.
    """
    generator = _generator(seed, "validation")
    chosen = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(members[: min(round(len(members) * fraction), max(len(members) - 1, 0))])
    val = np.sort(np.concatenate(chosen))
    if len(val) == 0:
        raise ValueError(f"data.val_fraction={fraction}: leaves no image of {len(labels)}")
    return val, np.setdiff1d(np.arange(len(labels)), val)


def balanced_subset(
    labels: np.ndarray, candidates: np.ndarray, num_labeled: int, seed: int
) -> np.ndarray:
    """Choose sorted positions among the candidates, equally many of each class.

    A smaller choice is contained in a larger one of the same seed.

    Raises:
        ValueError: If the classes cannot share `num_labeled` equally, or one is too small.
    """
    classes = np.unique(labels)
    per_class, rest = divmod(num_labeled, len(classes))
    smallest = min(int((labels[candidates] == label).sum()) for label in classes)
    if rest or per_class > smallest:
        raise ValueError(
            f"data.num_labeled={num_labeled}: must be a multiple of the {len(classes)} classes and "
            f"at most {smallest * len(classes)}"
        )
    generator = _generator(seed, "labeled")
    chosen = [
        generator.permutation(candidates[labels[candidates] == label])[:per_class]
        for label in classes
    ]
    return np.sort(np.concatenate(chosen))


def unlabeled_pool(num_available: int, num_labeled: int, ratio: Ratio, seed: int) -> np.ndarray:
    """Choose the unlabelled images that a ratio admits, `(N,)` int64.

    A smaller pool is a prefix of a larger one of the same seed.

    Raises:
        ValueError: If there are fewer images than the ratio asks for.
    """
    order = _generator(seed, "pool").permutation(num_available)
    if ratio.unlabeled == -1 or ratio.of == "batch":
        return order
    needed = round(num_labeled * ratio.unlabeled / ratio.labeled)
    if needed > num_available:
        raise ValueError(
            f"ratio={ratio.name}: {num_labeled} labelled images ask for {needed} unlabelled ones, "
            f"but there are {num_available}; at most ratio=1:{num_available // num_labeled} fits, "
            "or take ratio=all, or ratio.of=batch"
        )
    return order[:needed]
