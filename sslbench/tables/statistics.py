"""Intervals and tests. Pure functions of numbers; all tests are two-sided."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """The bounds of a confidence interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """An estimated difference with its interval, p-value and standardised effect."""

    difference: float
    low: float
    high: float
    p: float
    effect_size: float


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return Student's interval of the mean of `n >= 2` values."""
    assert len(values) >= 2, "one value has no deviation"
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    margin = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * error
    return Interval(float(mean - margin), float(mean + margin))


def wilson_interval(accuracy: float, num_images: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the score interval of a share of `num_images` (Wilson 1927)."""
    z = special.ndtri((1 + confidence) / 2)
    n = num_images
    center = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    margin = z / (1 + z**2 / n) * np.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2))
    return Interval(float(center - margin), float(center + margin))


def paired_t(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Test the mean of `a - b`, value by value; the effect is Cohen's d_z, mean over deviation.

    Equal differences other than zero give p = 0 and an infinite effect.
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation <= 1e-12:
        if abs(mean) <= 1e-12:
            return Difference(0.0, 0.0, 0.0, 1.0, 0.0)
        return Difference(mean, mean, mean, 0.0, float(np.copysign(np.inf, mean)))
    low, high = t_interval(differences, confidence)
    t = mean / deviation * np.sqrt(len(differences))
    p = float(2 * special.stdtr(len(differences) - 1, -abs(t)))
    return Difference(mean, low, high, p, mean / deviation)


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray, *, mid_p: bool = True) -> float:
    """Return the p-value of McNemar's test on `(n,)` bools of the same images.

    The exact binomial test of the images that one of the two alone gets right; `mid_p` counts half
    of the observed outcome's own probability, as the exact test is conservative (Fagerland et al.
    2013).
    """
    only_a, only_b = discordant(correct_a, correct_b)
    total, fewer = only_a + only_b, min(only_a, only_b)
    if total == 0:
        return 1.0
    up_to_fewer = special.bdtr(fewer, total, 0.5)
    below = special.bdtr(fewer - 1, total, 0.5) if fewer > 0 else 0.0
    return float(min(up_to_fewer + (below if mid_p else up_to_fewer), 1.0))


def discordant(correct_a: np.ndarray, correct_b: np.ndarray) -> tuple[int, int]:
    """Count the images that only a, and only b, gets right."""
    assert correct_a.shape == correct_b.shape, "not the same images"
    a, b = correct_a.astype(bool), correct_b.astype(bool)
    return int((a & ~b).sum()), int((b & ~a).sum())


def cohens_g(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Return the effect of McNemar's test: a's share of the discordant images minus one half."""
    only_a, only_b = discordant(correct_a, correct_b)
    return only_a / (only_a + only_b) - 0.5 if only_a + only_b else 0.0


def paired_bootstrap(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the percentile interval of the accuracy of a minus that of b over the same images.

    Resampling n images with replacement draws the numbers of images that only a, only b, and both
    or neither get right from a multinomial: that is what is drawn here.
    """
    only_a, only_b = discordant(correct_a, correct_b)
    n = len(correct_a)
    shares = np.array([only_a, only_b, n - only_a - only_b]) / n
    counts = np.random.default_rng(seed).multinomial(n, shares, num_resamples)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, tails)
    return Interval(float(low), float(high))


def two_proportions(
    a: float, b: float, num_a: int, num_b: int, confidence: float = CONFIDENCE
) -> Difference:
    """Test two shares of independent images; the effect is Cohen's h.

    The p-value is of the pooled z test, the interval unpooled (Wald). Accuracies on the same images
    are correlated, which makes this test a cautious one for them.
    """
    difference = a - b
    pooled = (a * num_a + b * num_b) / (num_a + num_b)
    pooled_error = np.sqrt(pooled * (1 - pooled) * (1 / num_a + 1 / num_b))
    p = 2 * special.ndtr(-abs(difference) / pooled_error) if pooled_error > 0 else 1.0
    error = np.sqrt(a * (1 - a) / num_a + b * (1 - b) / num_b)
    margin = special.ndtri((1 + confidence) / 2) * error
    effect = 2 * np.arcsin(np.sqrt(a)) - 2 * np.arcsin(np.sqrt(b))
    return Difference(
        difference, float(difference - margin), float(difference + margin), float(p), float(effect)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for several tests (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    sorted_p = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, float)[order] * factors))
    corrected = np.empty(len(p_values))
    corrected[order] = sorted_p
    return corrected.tolist()
