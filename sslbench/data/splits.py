"""Which images are used for what. Pure functions, the same on every machine."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sslbench.config.parts import Ratio

VAL_PURPOSE, LABELED_PURPOSE = 0, 1


def seeded_order(num: int, *seed: int) -> np.ndarray:
    """Return a permutation of `range(num)`, `(num,)` int64.

    A bit generator's raw output is fixed for all platforms and versions of numpy; what
    `Generator.permutation` makes of it is not.
    """
    return np.random.PCG64(seed).random_raw(num).argsort(kind="stable")


def split_val_test(
    labels: np.ndarray, val_fraction: float, split_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the test file's images into validation and test, class by class.

    Args:
        labels: `(N,)`.
        val_fraction: Share of each class that validates, rounded to whole images.

    Returns:
        Two sorted int64 arrays of positions.

    Raises:
        ValueError: If either part would be empty, or of one class.
    """
    order = seeded_order(len(labels), split_seed, VAL_PURPOSE)
    is_val = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        is_val[of_class[: round(len(of_class) * val_fraction)]] = True
    if is_val.all() or not is_val.any():
        raise ValueError(
            f"data.val_fraction={val_fraction}: leaves {is_val.sum()} of {len(labels)} test images "
            f"for validation and {(~is_val).sum()} for the test; pick one nearer to 0.5"
        )
    for name, part in (("validation", is_val), ("test", ~is_val)):
        if len(np.unique(labels[part])) < 2:
            raise ValueError(
                f"test_y.bin: all {part.sum()} {name} images are of one class; an accuracy on them "
                "says nothing: mend the file, or pick another data.val_fraction"
            )
    return np.flatnonzero(is_val), np.flatnonzero(~is_val)


def choose_labeled(
    labels: np.ndarray, candidates: np.ndarray, num_labeled: int, num_classes: int, split_seed: int
) -> np.ndarray:
    """Choose equally many images of each class; a smaller choice is contained in a larger one.

    Args:
        labels: `(N,)`, of all train images.
        candidates: Positions to choose from.

    Returns:
        A sorted int64 array of positions.

    Raises:
        ValueError: If so many cannot be chosen.
    """
    if num_labeled % num_classes:
        raise ValueError(
            f"data.num_labeled={num_labeled}: must be a multiple of the {num_classes} classes"
        )
    per_class = num_labeled // num_classes
    order = seeded_order(len(labels), split_seed, LABELED_PURPOSE)
    order = order[np.isin(order, candidates)]
    of_classes = [order[labels[order] == label] for label in range(num_classes)]
    fewest = min(len(of_class) for of_class in of_classes)
    if per_class > fewest:
        raise ValueError(
            f"data.num_labeled={num_labeled}: needs {per_class} images of each class, and one "
            f"class has only {fewest}; at most data.num_labeled={fewest * num_classes}, or leave "
            "it out for all labelled images"
        )
    return np.sort(np.concatenate([of_class[:per_class] for of_class in of_classes]))


def pool_size(num_available: int, num_labeled: int, ratio: "Ratio") -> int:
    """Return how many unlabelled images a ratio admits.

    Raises:
        ValueError: If there are too few unlabelled images, or the ratio admits none.
    """
    if ratio.unlabeled == 0:
        return 0
    takes_all = ratio.unlabeled == -1 or ratio.of == "batch"
    needed = num_available if takes_all else round(num_labeled * ratio.unlabeled / ratio.labeled)
    if needed == 0:
        raise ValueError(
            f"ratio={ratio.name}: admits none of {num_available:,} unlabelled images beside "
            f"{num_labeled} labelled ones; pick one with more of them, such as ratio=1:1"
        )
    if needed > num_available:
        if num_available >= num_labeled:
            largest = f"1:{num_available // num_labeled}"
        else:
            largest = f"{num_labeled}:{num_available}"
        raise ValueError(
            f"ratio={ratio.labeled}:{ratio.unlabeled}: {num_labeled} labelled images need "
            f"{needed:,} unlabelled ones, and there are {num_available:,}; the largest ratio that "
            f"fits is ratio={largest}; ratio=all takes all of them, and ratio.of=batch counts the "
            "images of a batch instead"
        )
    return needed


def unlabeled_pool(num_available: int, num_labeled: int, ratio: "Ratio", seed: int) -> np.ndarray:
    """Choose the unlabelled images that a ratio admits; a smaller pool begins a larger one.

    Returns:
        int64 positions, in random order where the ratio counts the pool's images.

    Raises:
        ValueError: As `pool_size`.
    """
    size = pool_size(num_available, num_labeled, ratio)
    if ratio.unlabeled <= 0 or ratio.of == "batch":
        return np.arange(size)
    import torch

    from sslbench.randomness import generator

    return torch.randperm(num_available, generator=generator(seed, "pool"))[:size].numpy()
