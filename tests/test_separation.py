"""How far classes part in embeddings: probe and k-NN by cross-validation, kinds, dimensions."""

import numpy as np
import pytest

from sslbench.cell.embeddings import Embeddings
from sslbench.evaluate.separation import measure
from sslbench.tables.separation import kinds_of, measure_once

NAMES = ["bird", "car", "cat", "ship"]


def clusters(spread, size=80, dim=12):
    """Points around four corners, `spread` apart, and their labels."""
    labels = np.arange(size) % 4
    noise = np.random.default_rng(0).normal(size=(size, dim))
    return (spread * np.eye(4, dim)[labels] + noise).astype(np.float32), labels


def test_classes_that_part_are_found_and_noise_is_not():
    points, labels = clusters(spread=20.0)
    apart = measure(points, labels, kinds_of(NAMES), k=5, l2=1.0)
    assert apart["probe"] == apart["knn"] == apart["kind"] == 1
    shuffled = np.random.default_rng(1).permutation(labels)
    noise = measure(points, shuffled, kinds_of(NAMES), k=5, l2=1.0)
    assert max(noise["probe"], noise["knn"]) < 0.5
    assert noise["kind"] == pytest.approx(0.5, abs=0.2)


def test_a_kind_is_right_where_its_class_may_be_wrong():
    points, labels = clusters(spread=20.0)
    twins = points[labels % 2]  # animals are alike, and so are vehicles
    found = measure(twins + points * 1e-3, labels, kinds_of(NAMES), k=5, l2=1.0)
    assert found["kind"] == 1
    assert kinds_of([*NAMES, "zero"]) is None
    assert np.isnan(measure(points, labels, None, k=5, l2=1.0)["kind"])


@pytest.mark.parametrize(
    ("spread", "expected"), [([1, 0, 0], 1), ([1, 1, 1], 3), ([0, 0, 0], 0), ([1, 1, 0], 2)]
)
def test_the_dimension_is_how_many_directions_are_used(spread, expected):
    points = np.random.default_rng(0).normal(size=(4000, 3)) * spread
    found = measure(points.astype(np.float32)[:4000:10], np.arange(400) % 4, None, 5, 1.0)
    assert found["dimension"] == pytest.approx(expected, abs=0.1)


def test_few_or_equal_embeddings_are_measured(tmp_path):
    few = Embeddings(np.ones((3, 4), np.float32), np.zeros(3, int), np.arange(3))
    equal = Embeddings(np.ones((40, 4), np.float32), np.arange(40) % 4, np.arange(40))
    first, second = (measure_once(tmp_path, each, NAMES, 5, 1.0) for each in (few, equal))
    assert np.isnan(first["probe"])
    assert second["probe"] == pytest.approx(0.25, abs=0.2)
    assert second["dimension"] == 0
    assert measure_once(tmp_path, equal, NAMES, 5, 1.0) == second
    assert len(list(tmp_path.iterdir())) == 2
