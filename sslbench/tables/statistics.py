"""Intervals and tests, by scipy and statsmodels. Pure functions of numbers; tests are two-sided.

Importing it takes a second, which is why the doors import it inside their functions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
    proportions_ztest,
)

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
NUM_RESAMPLES = 10_000
ALIKE = 1e-12
"""Values that differ by less are the same but for rounding."""

Interval = tuple[float, float]
"""The bounds of a 95 % confidence interval."""


class Difference(NamedTuple):
    """An estimated difference with its 95 % interval, p-value and standardised effect."""

    difference: float
    low: float
    high: float
    p: float
    effect_size: float
    effect: str
    """The kind of effect size: Cohen's d_z, g or h."""


def t_interval(values: Sequence[float]) -> Interval:
    """Return Student's interval of the mean of `n >= 2` values."""
    assert len(values) >= 2, "one value has no deviation"
    if np.ptp(values) <= ALIKE:
        return float(values[0]), float(values[0])
    return stats.t.interval(CONFIDENCE, len(values) - 1, np.mean(values), stats.sem(values))


def wilson_interval(accuracy: float, num_images: int) -> Interval:
    """Return the score interval of a share of `num_images` (Wilson 1927)."""
    return proportion_confint(accuracy * num_images, num_images, 1 - CONFIDENCE, method="wilson")


def paired_t(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Test the mean of `a - b`, value by value; the effect is Cohen's d_z, mean over deviation.

    Equal differences other than zero give p = 0 and an infinite effect.
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    mean = float(differences.mean())
    if np.ptp(differences) <= ALIKE:
        if abs(mean) <= ALIKE:
            return Difference(0.0, 0.0, 0.0, 1.0, 0.0, "Cohen's d_z")
        return Difference(mean, mean, mean, 0.0, float(np.copysign(np.inf, mean)), "Cohen's d_z")
    p = float(stats.ttest_1samp(differences, 0).pvalue)
    effect_size = mean / float(differences.std(ddof=1))
    return Difference(mean, *t_interval(differences), p, effect_size, "Cohen's d_z")


def same_images(correct_a: np.ndarray, correct_b: np.ndarray) -> Difference:
    """Test the accuracy of a minus that of b, `(n,)` bools over the same images.

    The p-value is McNemar's mid-p, the interval a paired bootstrap; the effect is Cohen's g: a's
    share of the images that one of the two alone gets right, minus one half.
    """
    assert correct_a.shape == correct_b.shape, "not the same images"
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    num_images, discordant = len(correct_a), only_a + only_b
    return Difference(
        (only_a - only_b) / num_images,
        *paired_bootstrap(only_a, only_b, num_images),
        mcnemar_mid_p(only_a, only_b),
        only_a / discordant - 0.5 if discordant else 0.0,
        "Cohen's g",
    )


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Return the p-value of McNemar's test, of the images that a alone, and b alone, gets right.

    The exact binomial test is conservative; mid-p counts half of the observed outcome's own
    probability (Fagerland et al. 2013).
    """
    fewer, total = min(only_a, only_b), only_a + only_b
    return float(min(1.0, stats.binom.cdf([fewer - 1, fewer], total, 0.5).sum()))


def paired_bootstrap(only_a: int, only_b: int, num_images: int, seed: int = 0) -> Interval:
    """Return the percentile interval of an accuracy minus another over the same images.

    Resampling n images with replacement draws the numbers of images that only a, only b, and both
    or neither get right from a multinomial: that is what is drawn here.
    """
    shares = np.array([only_a, only_b, num_images - only_a - only_b]) / num_images
    counts = np.random.default_rng(seed).multinomial(num_images, shares, NUM_RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / num_images, TAILS)
    return low, high


def two_proportions(a: float, b: float, num_a: int, num_b: int) -> Difference:
    """Test two shares of independent images; the effect is Cohen's h.

    The p-value is of the pooled z test, the interval unpooled (Wald). Accuracies on the same images
    are correlated, which makes this test a cautious one for them.
    """
    counts, images = [a * num_a, b * num_b], [num_a, num_b]
    p = 1.0 if a == b else float(proportions_ztest(counts, images)[1])
    interval = confint_proportions_2indep(
        counts[0], num_a, counts[1], num_b, method="wald", compare="diff", alpha=1 - CONFIDENCE
    )
    return Difference(a - b, *interval, p, float(proportion_effectsize(a, b)), "Cohen's h")


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for several tests (Holm 1979), in the order given."""
    return multipletests(p_values, method="holm")[1].tolist() if len(p_values) else []
