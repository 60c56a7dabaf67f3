"""Embeddings in the plane: which points, where they fall, what is said of them and kept."""

import numpy as np
import pytest

from sslbench.cell.embeddings import read_embeddings
from sslbench.evaluate import projection
from sslbench.evaluate.projection import choose_points, project_snapshots, project_tsne, trust


def clusters(size=90, spread=8.0):
    """Points in 12 dimensions of three classes, `spread` apart, and their labels."""
    labels = np.arange(size) % 3
    points = spread * np.eye(3, 12)[labels] + np.random.default_rng(0).normal(size=(size, 12))
    return points.astype(np.float32), labels


def test_points_are_few_fixed_and_in_proportion():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    chosen = choose_points(labels, 100)
    assert len(np.unique(chosen)) == 100
    assert np.abs(np.bincount(labels[chosen]) - [60, 30, 10]).max() <= 1
    np.testing.assert_array_equal(chosen, choose_points(labels, 100))


def test_each_snapshot_starts_where_the_last_ended():
    points, labels = clusters(spread=2.0)
    first, second = project_snapshots([points, points + 0.01], labels)
    np.testing.assert_array_equal(first.coordinates, project_tsne(points))
    again = project_tsne(points + 0.01, first.coordinates)
    np.testing.assert_array_equal(second.coordinates, again)
    # A mirrored start must lead to a mirrored picture: from PCA's it would be the same one again.
    # How alike they are hangs on the processor's rounding.
    mirrored = project_tsne(points, -first.coordinates)
    assert np.corrcoef(first.coordinates.ravel(), mirrored.ravel())[0, 1] < 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 12])
def test_few_or_collapsed_points_are_projected(size):
    points, labels = clusters(size)
    for values in (points, np.zeros_like(points), points[:, :1]):
        for found in project_snapshots([values, points], np.zeros_like(labels)):
            assert found.coordinates.shape == (size, 2)
            assert np.isfinite(found.coordinates).all()
            assert np.isnan(found.trust) == (size < 3)


def test_a_plane_is_trusted_as_far_as_it_keeps_neighbours():
    points, _ = clusters()
    plane = project_tsne(points)
    assert trust(points, plane) > 0.85
    assert trust(points, np.random.default_rng(0).normal(size=plane.shape)) < 0.7


def test_projections_are_kept(tmp_path, monkeypatch):
    points, labels = clusters(40)
    first = projection.project_once(tmp_path, [points, points + 1], labels)
    monkeypatch.setattr(projection, "project_snapshots", None)
    again = projection.project_once(tmp_path, [points, points + 1], labels)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        assert one.trust == other.trust


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"embeddings": np.array([[np.inf]]), "labels": [0], "indices": [0]}, "not finite"),
        ({"embeddings": np.ones(3), "labels": [0] * 3, "indices": [0] * 3}, "do not belong"),
        ({"embeddings": np.ones((3, 0)), "labels": [0] * 3, "indices": [0] * 3}, "are none"),
        ({"labels": [0], "indices": [0]}, "not a file of embeddings: no embeddings"),
        (None, "damaged"),
    ],
)
def test_embeddings_that_cannot_be_projected_are_named(arrays, message, tmp_path):
    path = tmp_path / "embeddings-test.npz"
    path.write_bytes(b"PK torn")
    if arrays:
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read_embeddings(path)
