"""Intervals and tests against formulas, hand calculations and simulations."""

import math

import numpy as np
import pytest

from sslbench.tables import statistics


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


def test_paired_t_by_hand():
    found = statistics.paired_t([0.75, 0.76, 0.77], [0.73, 0.75, 0.74])
    t = 0.02 / (0.01 / math.sqrt(3))  # of the differences 0.02, 0.01 and 0.03
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))  # Student's t of two degrees
    assert (found.difference, found.effect_size) == pytest.approx((0.02, 0.02 / 0.01))
    assert statistics.paired_t([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).p == 1
    assert statistics.paired_t([0.5, 0.6, 0.7], [0.6, 0.7, 0.8]).p == 0


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
