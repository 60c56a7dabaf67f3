"""Intervals and tests against scipy and statsmodels on made-up data."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from sslbench.tables import statistics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def paired(rng):
    hardness = rng.random(500)
    return hardness + rng.normal(0, 0.2, 500) < 0.7, hardness + rng.normal(0, 0.2, 500) < 0.62


@pytest.mark.parametrize("size", [2, 3, 10])
def test_t_interval_agrees_with_scipy(rng, size):
    values = rng.normal(0.7, 0.02, size)
    expected = stats.t.interval(0.95, size - 1, np.mean(values), stats.sem(values))
    assert statistics.t_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize(("correct", "images"), [(0, 20), (13, 20), (20, 20), (4584, 6400)])
def test_wilson_interval_agrees_with_statsmodels(correct, images):
    expected = proportion_confint(correct, images, method="wilson")
    assert statistics.wilson_interval(correct / images, images) == pytest.approx(expected)


def test_paired_t_agrees_with_scipy(rng):
    a, b = rng.normal(0.75, 0.01, 5), rng.normal(0.73, 0.01, 5)
    expected = stats.ttest_rel(a, b)
    found = statistics.paired_t(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.difference == pytest.approx(np.mean(a - b))
    assert found.effect_size == pytest.approx(expected.statistic / np.sqrt(5))  # d_z = t / sqrt(n)


def test_paired_t_of_equal_differences():
    assert statistics.paired_t([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).p == 1
    certain = statistics.paired_t([0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
    assert (certain.p, certain.effect_size) == (0, -np.inf)


def test_mcnemar_agrees_with_statsmodels(paired):
    a, b = paired
    only_a, only_b = statistics.discordant(a, b)
    table = [[(a & b).sum(), only_a], [only_b, (~a & ~b).sum()]]
    exact = reference_mcnemar(table, exact=True).pvalue
    assert statistics.mcnemar(a, b, mid_p=False) == pytest.approx(exact)
    mid = exact - stats.binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)
    assert statistics.mcnemar(a, b) == pytest.approx(mid)
    assert statistics.cohens_g(a, b) == pytest.approx(only_a / (only_a + only_b) - 0.5)


def test_mcnemar_by_hand():
    """Four images only a gets right, none only b: exact 2 / 2^4, mid-p 1 / 2^4."""
    a = np.array([True] * 10)
    b = np.array([False] * 4 + [True] * 6)
    assert statistics.mcnemar(a, b, mid_p=False) == pytest.approx(2 / 16)
    assert statistics.mcnemar(a, b) == pytest.approx(1 / 16)
    assert statistics.mcnemar(a, a) == 1


def test_paired_bootstrap_agrees_with_scipy_and_is_seeded(paired):
    a, b = paired
    found = statistics.paired_bootstrap(a, b)
    expected = stats.bootstrap(
        ((a.astype(float) - b),), np.mean, n_resamples=5000, method="percentile", rng=1
    ).confidence_interval
    assert found == pytest.approx(tuple(expected), abs=0.006)
    assert found == statistics.paired_bootstrap(a, b)
    assert found != statistics.paired_bootstrap(a, b, seed=1)


@pytest.mark.parametrize(("a", "b", "images"), [(0.7318, 0.7168, 6400), (0.3945, 0.4298, 1600)])
def test_two_proportions_agrees_with_statsmodels(a, b, images):
    found = statistics.two_proportions(a, b, images, images)
    counts = [a * images, b * images]
    assert found.p == pytest.approx(proportions_ztest(counts, [images] * 2)[1])
    expected = confint_proportions_2indep(
        counts[0], images, counts[1], images, method="wald", compare="diff"
    )
    assert (found.low, found.high) == pytest.approx(expected)


def test_holm_agrees_with_statsmodels(rng):
    p_values = [*rng.random(12) ** 4, 0.03, 0.03]
    expected = multipletests(p_values, method="holm")[1]
    assert statistics.holm(p_values) == pytest.approx(expected)
    assert statistics.holm([]) == []
