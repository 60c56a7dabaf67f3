"""Intervals and tests against formulas, hand calculations and simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from sslbench.tables import statistics
from sslbench.tables.statistics import Spread, Trainings


def test_t_interval_by_hand():
    # t(0.975, 2) = 4.3027
    expected = 0.75 + np.array([-1, 1]) * 4.3027 * 0.01 / math.sqrt(3)
    assert statistics.t_interval([0.74, 0.75, 0.76]) == pytest.approx(expected, abs=1e-6)
    assert statistics.t_interval([0.1 + 0.2, 0.3]) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(("correct", "images"), [(0, 20), (13, 20), (20, 20), (4584, 6400)])
def test_wilson_interval_by_its_formula(correct, images):
    """Its bounds are the shares p from which the observed one is 1.96 standard errors away."""
    observed = correct / images
    for p in statistics.wilson_interval(observed, images):
        error = math.sqrt(p * (1 - p) / images)
        assert abs(observed - p) == pytest.approx(1.959964 * error, abs=1e-6)


def trainings(accuracies, right=None, num_images=400):
    return Trainings(np.array(accuracies), right, num_images)


def spread(values):
    return Spread(float(np.var(values, ddof=1)), len(values) - 1)


def test_seeds_alone_are_welchs_test():
    """Where all images are the same to both, as if there were ever so many of them."""
    a, b = [0.75, 0.77, 0.76], [0.70, 0.74, 0.71, 0.73]
    sides = [trainings(values, None, 10**12) for values in (a, b)]
    found = statistics.seeds_and_images(*sides, [spread(a), spread(b)])
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert (found.p, found.difference) == pytest.approx((expected.pvalue, 0.04), rel=1e-4)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(), rel=1e-4)
    assert found.interval_of == "seeds and images"


def test_images_alone_are_a_paired_z_test():
    """Of trainings that are all alike: what varies are the images that one side gets right."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 400)) < 0.7
    sides = [trainings([each.mean()] * 3, np.array([each] * 3)) for each in (a, b)]
    found = statistics.seeds_and_images(*sides, [Spread(0, 2)] * 2)
    difference = a.astype(float) - b
    error = difference.std(ddof=1) / 20
    assert found.difference == pytest.approx(difference.mean())
    expected = stats.t.interval(0.95, 400, difference.mean(), error)
    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("paired", [False, True])
def test_seeds_and_images_add_up_to_the_variance_over_both(paired):
    """Drawn anew many times, the error is what the differences vary by."""
    rng, found = np.random.default_rng(1), []
    for _ in range(150):
        images, seeds = rng.normal(0, 0.8, 300), rng.normal(0, 0.05, (2, 8, 1))
        shared = rng.normal(0, 0.3, (8, 300)) * paired
        right = images + shared + rng.normal(0, 0.6, (2, 8, 300)) + seeds > -0.4
        sides = [trainings(each.mean(1), each, 300) for each in right]
        a, b = (each.accuracies for each in sides)
        both = [Spread(float(np.var(a - b, ddof=1)) / 2, 7, most=7)] * 2
        spreads = both if paired else [spread(a), spread(b)]
        found.append(statistics.seeds_and_images(*sides, spreads, paired=paired))
    observed = np.var([each.difference for each in found])
    widths = np.array([(each.high - each.low) / 2 for each in found])
    assert np.mean([each.p < 0.05 for each in found]) < 0.08
    assert 1.8 < np.median(widths) / np.sqrt(observed) < 2.7


def test_rows_lend_each_other_their_variance_as_far_as_they_agree():
    rng = np.random.default_rng(2)
    alike = [Spread(variance, 2) for variance in (1e-4, 1.1e-4, 2e-4, 0.5e-4)]
    prior = statistics.seed_prior(alike)
    assert prior == pytest.approx((4.6e-4 / 4, math.inf, 8))
    assert statistics.moderated(Spread(0.01, 2), prior) == (prior.variance, 8, 8)
    # Variances a hundredfold apart are hardly lent.
    unlike = [spread(rng.normal(0, 10.0 ** rng.uniform(-3, -1), 3)) for _ in range(18)]
    prior = statistics.seed_prior(unlike)
    own = Spread(0.01, 2)
    variance, degrees, most = statistics.moderated(own, prior)
    assert prior.degrees < 4
    assert (degrees, most) == pytest.approx((2 + prior.degrees, 36))
    assert variance == pytest.approx((0.02 + prior.degrees * prior.variance) / degrees)
    assert [statistics.seed_prior(few) for few in ([], alike[:1], [Spread(0, 2)] * 3)] == [None] * 3
    assert statistics.moderated(own, None) == own


def test_the_mean_of_seeds_has_images_in_its_interval():
    few, many = (
        statistics.mean_interval([0.7, 0.7, 0.7], images, Spread(0.0, 2)) for images in (100, 10**4)
    )
    assert few == pytest.approx(stats.t.interval(0.95, 100, 0.7, np.sqrt(0.7 * 0.3 / 100)))
    assert few[0] < many[0] < 0.7 < many[1] < few[1]
    assert statistics.mean_interval([0.0, 0.1], 50, Spread(0.005, 1))[0] == 0


def test_holms_correction_by_hand():
    """The smallest counts m times, the next m - 1 times; none is below one that was smaller."""
    found = statistics.holm(np.array([0.01, 0.04, 0.03, 0.005, 0.9, 0.9]))
    assert found == pytest.approx([5 * 0.01, 4 * 0.03, 4 * 0.03, 6 * 0.005, 1, 1])
    assert statistics.holm(np.array([])).shape == (0,)


@pytest.mark.parametrize(("only_a", "only_b"), [(4, 0), (0, 4), (30, 12), (7, 7), (0, 0)])
def test_the_same_images_are_tested_by_mid_p_and_bootstrapped_in_pairs(only_a, only_b):
    total, fewer = only_a + only_b, min(only_a, only_b)
    images = np.arange(total + 50)
    a, b = images >= only_b, (images < only_b) | (images >= total)
    found = statistics.same_images(a, b)
    tail = sum(math.comb(total, k) for k in range(fewer)) + math.comb(total, fewer) / 2
    assert found.p == pytest.approx(1 if only_a == only_b else 2 * tail / 2**total)
    drawn = np.random.default_rng(3).integers(0, len(images), (8000, len(images)))
    expected = np.quantile(a[drawn].mean(1) - b[drawn].mean(1), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.effect_size == pytest.approx(only_a / total - 0.5 if total else 0)


@pytest.mark.parametrize(("a", "b", "images"), [(0.7318, 0.7168, 6400), (0.3945, 0.4298, 1600)])
def test_two_proportions_by_their_formulas(a, b, images):
    found = statistics.two_proportions(a, b, images, images)
    pooled = (a + b) / 2
    z = (a - b) / math.sqrt(2 * pooled * (1 - pooled) / images)
    assert found.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    margin = 1.959964 * math.sqrt((a * (1 - a) + b * (1 - b)) / images)
    assert (found.low, found.high) == pytest.approx((a - b - margin, a - b + margin))
    effect = 2 * (math.asin(math.sqrt(a)) - math.asin(math.sqrt(b)))
    assert found.effect_size == pytest.approx(effect)
    assert [statistics.two_proportions(each, each, 20, 30).p for each in (0, a, 1)] == [1, 1, 1]
    assert statistics.two_proportions(1.0, math.nextafter(1, 0), 20, 30).p == 1, "but for rounding"
