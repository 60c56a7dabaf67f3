"""Intervals and two-sided tests, by scipy and statsmodels: pure functions of numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
    proportions_ztest,
)

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
ALIKE = 1e-12
"""Values that differ by less are the same but for rounding."""


class Difference(NamedTuple):
    """An estimated difference with its 95 % interval, p-value and standardised effect."""

    difference: float
    low: float
    high: float
    p: float
    effect_size: float
    """Cohen's d of paired values, g of paired images, h of shares."""
    test: str


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of `n >= 2` values."""
    if np.ptp(values) <= ALIKE:
        return float(values[0]), float(values[0])
    return stats.t.interval(CONFIDENCE, len(values) - 1, np.mean(values), stats.sem(values))


def wilson_interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share of `num_images` (Wilson 1927)."""
    return proportion_confint(accuracy * num_images, num_images, 1 - CONFIDENCE, method="wilson")


def paired_t(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Test the mean of `a - b`, value by value; equal ones other than zero give p = 0.

    The effect is the mean over the deviation, infinite where p is 0.
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    mean = float(differences.mean())
    if np.ptp(differences) > ALIKE:
        p, effect = float(stats.ttest_1samp(differences, 0).pvalue), mean / differences.std(ddof=1)
    else:
        p, effect = (1.0, 0.0) if abs(mean) <= ALIKE else (0.0, np.copysign(np.inf, mean))
    return Difference(mean, *t_interval(differences), p, float(effect), "paired t")


def same_images(correct_a: np.ndarray, correct_b: np.ndarray) -> Difference:
    """Test a minus b, `(n,)` bools over the same images: McNemar's mid-p, a paired bootstrap.

    The effect is a's share of the images that one alone gets right, minus one half.
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    num_images, discordant = len(correct_a), only_a + only_b
    # The exact binomial test is conservative; mid-p counts half of the observed outcome's own
    # probability (Fagerland et al. 2013).
    fewer = min(only_a, only_b)
    p = float(min(1.0, stats.binom.cdf([fewer - 1, fewer], discordant, 0.5).sum()))
    # Images drawn with replacement are by a alone, b alone or neither as a multinomial has it.
    shares = np.array([only_a, only_b, num_images - discordant]) / num_images
    counts = np.random.default_rng(0).multinomial(num_images, shares, NUM_RESAMPLES)
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    interval = np.quantile((counts[:, 0] - counts[:, 1]) / num_images, tails)
    effect = only_a / discordant - 0.5 if discordant else 0.0
    return Difference((only_a - only_b) / num_images, *interval, p, effect, "McNemar mid-p")


def two_proportions(a: float, b: float, num_a: int, num_b: int) -> Difference:
    """Test two shares of independent images: the pooled z test, an unpooled interval (Wald)."""
    p = 1.0 if a == b else float(proportions_ztest([a * num_a, b * num_b], [num_a, num_b])[1])
    counts, options = (a * num_a, num_a, b * num_b, num_b), {"method": "wald", "compare": "diff"}
    interval = confint_proportions_2indep(*counts, **options, alpha=1 - CONFIDENCE)
    return Difference(a - b, *interval, p, float(proportion_effectsize(a, b)), "z test")
