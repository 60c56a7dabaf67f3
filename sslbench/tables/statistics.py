"""Intervals and two-sided tests, by scipy's distributions: pure functions of numbers.

A training's accuracy differs from another's by its seed, and from that on other images by the
images. `seeds_and_images` has both in its interval; one training's can only be of images. How often
these tests are wrong, and what gaps they find, is in docs/statistics.md (benchmarks/verdicts.py).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import special  # scipy.stats takes as long to import as 300 cells to read

Share = TypeVar("Share", float, np.ndarray)
CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2
"""Of the quantiles that bound an interval, the upper one."""
NUM_RESAMPLES = 10_000
ALIKE = 1e-12
"""Values that differ by less are the same but for rounding."""
IMAGES, SEEDS_AND_IMAGES = "images", "seeds and images"
"""What an interval is of: other images alone, or other trainings and other images."""


class Difference(NamedTuple):
    """An estimated difference with its 95 % interval, p-value and standardised effect."""

    difference: float
    low: float
    high: float
    p: float
    effect_size: float
    """Over the deviation of one training; of one pair of cells g of paired images, h of shares."""
    test: str
    interval_of: str


class Trainings(NamedTuple):
    """The same cell trained with `n` seeds."""

    accuracies: np.ndarray
    """`(n,)` shares."""
    right: np.ndarray | None
    """`(n, num_images)` bools: which images each gets right; None where that is not known."""
    num_images: int


class Spread(NamedTuple):
    """An estimated variance between trainings that differ by their seeds."""

    variance: float
    degrees: float
    """Of freedom."""
    most: float = np.inf
    """Degrees of freedom of all that it was learned from, and that others may share with it."""


class Prior(NamedTuple):
    """What many rows tell of the variance between trainings (see `seed_prior`)."""

    variance: float
    degrees: float
    """How many it is worth beside a row's own; infinite where rows agree."""
    most: float
    """Degrees of freedom that all rows have together."""


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of `n >= 2` values."""
    if np.ptp(values) <= ALIKE:
        return float(values[0]), float(values[0])
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    margin = special.stdtrit(len(values) - 1, UPPER) * error
    return float(mean - margin), float(mean + margin)


def wilson_interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share of `num_images` (Wilson 1927)."""
    z = float(special.ndtri(UPPER))
    centre, scale = accuracy + z**2 / (2 * num_images), 1 + z**2 / num_images
    margin = z * math.sqrt(_variance(accuracy, num_images) + (z / (2 * num_images)) ** 2)
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def seed_prior(spreads: Sequence[Spread]) -> Prior | None:
    """Learn from many rows' variances how trainings vary; None of fewer than two rows.

    Each variance is taken for one of its own, drawn around a common one (Smyth 2004): how far they
    differ beyond what few seeds explain says how much the common one is worth.
    """
    variances, halves = (np.array([each[i] for each in spreads], float) for i in range(2))
    halves /= 2
    pooled = np.average(variances, weights=halves) if len(spreads) > 1 else 0.0
    if pooled <= ALIKE**2:
        return None
    # A variance of zero is one of coarse accuracies; its logarithm must not outweigh all others.
    logarithms = np.log(np.maximum(variances, 1e-3 * pooled))
    centred = logarithms - special.digamma(halves) + np.log(halves)
    excess = float(np.var(centred, ddof=1) - special.polygamma(1, halves).mean())
    most = float(2 * halves.sum())
    if excess <= special.polygamma(1, most):  # it is worth more than all rows have
        return Prior(float(pooled), np.inf, most)
    half = _inverse_trigamma(excess)
    variance = np.exp(centred.mean() + special.digamma(half) - np.log(half))
    return Prior(float(variance), 2 * half, most)


def _inverse_trigamma(value: float) -> float:
    """Find where the trigamma function is `value` > 0, by Newton's method on its inverse.

    That is nearly a line, so few steps suffice (Smyth 2004, appendix).
    """
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / special.polygamma(2, x)
        x += step
        if abs(step) < ALIKE * x:
            break
    return float(x)


def moderated(own: Spread, prior: Prior | None) -> Spread:
    """Return a row's spread drawn towards what other rows tell, by what either is worth."""
    if prior is None:
        return own
    if np.isinf(prior.degrees):
        return Spread(prior.variance, prior.most, prior.most)
    both = own.degrees + prior.degrees
    variance = (own.degrees * own.variance + prior.degrees * prior.variance) / both
    return Spread(variance, min(both, prior.most), prior.most)


def seeds_and_images(
    a: Trainings, b: Trainings, spreads: Sequence[Spread], *, paired: bool = False
) -> Difference:
    """Test a minus b, each of two or more trainings, as if both seeds and images were drawn anew.

    Either side's variance between trainings counts, and that over images of their mean difference
    on the same ones, without what trainings brought into it. Degrees of freedom by Satterthwaite:
    Welch's test, with images.

    Args:
        spreads: Of a and of b; if `paired`, without what seeds do to both alike.
    """
    numbers = [len(side.accuracies) for side in (a, b)]
    parts = [s._replace(variance=s.variance / n) for s, n in zip(spreads, numbers, strict=True)]
    images = Spread(image_variance(a, b, paired=paired), a.num_images)
    variance, freedom, _ = _sum([_sum(parts), images])
    error = float(np.sqrt(variance))
    difference = float(np.mean(a.accuracies) - np.mean(b.accuracies))
    margin = float(special.stdtrit(freedom, UPPER)) * error
    p = float(2 * special.stdtr(freedom, -abs(difference) / error) if error else not difference)
    deviation = np.sqrt(np.mean([spread.variance for spread in spreads]))
    effect = difference / deviation if deviation else np.copysign(np.inf, difference)
    bounds = np.clip([difference - margin, difference + margin], -1, 1)
    test = f"{'paired ' * paired}t, {' and '.join(map(str, dict.fromkeys(numbers)))} seeds"
    return Difference(difference, *map(float, bounds), p, float(effect), test, SEEDS_AND_IMAGES)


def mean_interval(
    accuracies: Sequence[float], num_images: int, spread: Spread
) -> tuple[float, float]:
    """Return the 95 % interval of the mean accuracy of two or more trainings on other images.

    The images count as for one training, which is more than their due: trainings differ on them.
    """
    mean = float(np.mean(accuracies))
    of_seeds = Spread(spread.variance / len(accuracies), spread.degrees)
    both = _sum([of_seeds, Spread(_variance(mean, num_images), num_images)])
    margin = float(special.stdtrit(both.degrees, UPPER) * np.sqrt(both.variance))
    return max(0.0, mean - margin), min(1.0, mean + margin)


def _sum(parts: Sequence[Spread]) -> Spread:
    """Return the sum of variances, with degrees of freedom by theirs (Satterthwaite 1946)."""
    total = sum(part.variance for part in parts)
    squares = sum(part.variance**2 / part.degrees for part in parts)
    # Estimates that were learned from the same trainings are worth no more than those.
    degrees = min(total**2 / squares if squares else 1.0, *(part.most for part in parts))
    return Spread(total, degrees)


def image_variance(a: Trainings, b: Trainings, *, paired: bool) -> float:
    """Return the variance of a mean difference that comes of which images there are."""
    if a.right is None or b.right is None:  # as if each had images of its own
        shares = [np.mean(side.accuracies) for side in (a, b)]
        sizes = (a.num_images, b.num_images)
        return float(sum(map(_variance, shares, sizes)))
    shares = a.right.mean(0), b.right.mean(0)
    over_all = np.var(shares[0] - shares[1], ddof=1)
    # How trainings differ on an image is in the variance between trainings already.
    if paired:
        each = a.right.astype(np.int8) - b.right
        between = np.var(each, axis=0, ddof=1).mean() / len(each)
    else:
        sides = zip(shares, (len(a.right), len(b.right)), strict=True)
        # Of n bools the unbiased variance over n is that of a share over n - 1.
        between = sum(np.mean(_variance(share, n - 1)) for share, n in sides)
    return float(max(0.0, over_all - between) / a.num_images)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct `(m,)` p-values for how many they are (Holm 1979)."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate((len(p) - np.arange(len(p))) * np.asarray(p)[order])
    return np.minimum(corrected, 1)


def same_images(correct_a: np.ndarray, correct_b: np.ndarray) -> Difference:
    """Test a minus b, `(n,)` bools over the same images: McNemar's mid-p, a paired bootstrap.

    The effect is a's share of the images that one alone gets right, minus one half.
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    num_images, discordant = len(correct_a), only_a + only_b
    # The exact binomial test is conservative; mid-p counts half of the observed outcome's own
    # probability (Fagerland et al. 2013).
    fewer = min(only_a, only_b)
    tails = [special.bdtr(most, discordant, 0.5) for most in (fewer - 1, fewer) if most >= 0]
    p = float(min(1.0, sum(tails)))
    # Images drawn with replacement are by a alone, b alone or neither as a multinomial has it.
    shares = np.array([only_a, only_b, num_images - discordant]) / num_images
    counts = np.random.default_rng(0).multinomial(num_images, shares, NUM_RESAMPLES)
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    interval = map(float, np.quantile((counts[:, 0] - counts[:, 1]) / num_images, tails))
    effect = only_a / discordant - 0.5 if discordant else 0.0
    difference = (only_a - only_b) / num_images
    return Difference(difference, *interval, p, effect, "McNemar mid-p", IMAGES)


def two_proportions(a: float, b: float, num_a: int, num_b: int) -> Difference:
    """Test two shares of independent images: the pooled z test, an unpooled interval (Wald).

    The effect is Cohen's h.
    """
    pooled = (a * num_a + b * num_b) / (num_a + num_b)
    error = math.sqrt(_variance(pooled, num_a) + _variance(pooled, num_b))
    p = float(2 * special.ndtr(-abs(a - b) / error)) if error else 1.0
    margin = special.ndtri(UPPER) * math.sqrt(_variance(a, num_a) + _variance(b, num_b))
    effect = 2 * (math.asin(math.sqrt(a)) - math.asin(math.sqrt(b)))
    bounds = float(a - b - margin), float(a - b + margin)
    return Difference(a - b, *bounds, p, effect, "z test", IMAGES)


def _variance(share: Share, number: int) -> Share:
    """Return the variance of a share of so many independent images, or of each of an array's."""
    return share * (1 - share) / number
