"""Which images are used for what. Pure functions, the same on every machine."""

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sslbench.config.parts import Ratio

VAL_PURPOSE, LABELED_PURPOSE, TEST_PURPOSE = range(3)


def seeded_order(num: int, *seed: int) -> np.ndarray:
    """Return a permutation of `range(num)`, `(num,)` int64.

    A bit generator's raw output is fixed for all platforms and versions of numpy; what
    `Generator.permutation` makes of it is not.
    """
    return np.random.PCG64(seed).random_raw(num).argsort(kind="stable")


def cut(
    labels: np.ndarray, candidates: np.ndarray, fraction: float, split_seed: int, purpose: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide candidates class by class.

    Args:
        labels: `(N,)`, of all images of the file.
        candidates: Sorted positions in it.
        fraction: Share of each class in the first part, rounded to whole images.
        purpose: Cuts for different ones have nothing to do with each other.

    Returns:
        Two sorted int64 arrays of positions.
    """
    order = seeded_order(len(labels), split_seed, purpose)
    is_candidate, is_cut = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    is_candidate[candidates] = True
    order = order[is_candidate[order]]
    for label in np.unique(labels[candidates]):
        of_class = order[labels[order] == label]
        is_cut[of_class[: round(len(of_class) * fraction)]] = True
    return np.flatnonzero(is_cut), np.flatnonzero(is_candidate & ~is_cut)


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


def choose_share(
    labels: np.ndarray, candidates: np.ndarray, share: float, split_seed: int
) -> np.ndarray:
    """Choose a share of each class's images, at least one; less is contained in more.

    Args and result are those of `choose_labeled`.
    """
    order = seeded_order(len(labels), split_seed, LABELED_PURPOSE)
    order = order[np.isin(order, candidates)]
    chosen = []
    for label in np.unique(labels[candidates]):
        of_class = order[labels[order] == label]
        chosen.append(of_class[: _num_chosen(len(of_class), share)])
    return np.sort(np.concatenate(chosen))


def plain_number(counts: np.ndarray, share: float) -> int | str:
    """Return how a share of classes of such sizes is called, whatever share was typed for it.

    It is the number of images where classes have equally many; else the least whole percentage,
    or one with up to three decimals, that chooses as many of each.
    """
    chosen = _all_chosen(counts, share)
    if len(set(chosen)) == 1:
        return sum(chosen)
    for steps in (1, 10, 100, 1000):
        # The least: chosen images never become fewer as the share grows.
        least = bisect_left(
            range(1, 100 * steps), chosen, key=lambda at: _all_chosen(counts, at / steps / 100)
        )
        if _all_chosen(counts, (least + 1) / steps / 100) == chosen:
            return f"{(least + 1) / steps:g}%"
    return f"{100 * share:.6f}".rstrip("0").rstrip(".") + "%"


def _all_chosen(counts: np.ndarray, share: float) -> list[int]:
    return [_num_chosen(number, share) for number in counts.tolist()]


def _num_chosen(number: int, share: float) -> int:
    return max(1, round(share * number))


def pool_size(num_available: int, num_labeled: int, ratio: "Ratio") -> int:
    """Return how many unlabelled images a ratio admits.

    Raises:
        ValueError: If there are too few unlabelled images, or the ratio admits none.
    """
    if ratio.unlabeled == 0:
        return 0
    if num_available == 0:
        raise ValueError(
            f"ratio={ratio.name}: there are no unlabelled images to learn from; put some into "
            "unlabeled/ beside train/, or take the train images without their labels by "
            "data.unlabeled_from=train; method=supervised needs none"
        )
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
