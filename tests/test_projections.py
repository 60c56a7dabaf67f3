"""Embeddings in the plane: which points, where they fall, what is said of them and kept."""

from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from synthetic import make_cell

from sslbench.cell.embeddings import Embeddings, read_embeddings
from sslbench.evaluate.projection import (
    align_tsne,
    choose_points,
    knn_accuracy,
    project_pca,
    project_tsne,
    projection_numbers,
)
from sslbench.tables import projections
from sslbench.tables.gather import gather


def clusters(size=90, spread=8.0):
    """Points in 12 dimensions of three classes, `spread` apart, and their labels."""
    labels = np.arange(size) % 3
    points = spread * np.eye(3, 12)[labels] + np.random.default_rng(0).normal(size=(size, 12))
    return points.astype(np.float32), labels


def embeddings(points, labels):
    return Embeddings(points, labels, np.arange(len(labels)))


def test_points_are_few_fixed_and_in_proportion():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    chosen = choose_points(labels, 100)
    assert len(np.unique(chosen)) == 100
    assert np.abs(np.bincount(labels[chosen]) - [60, 30, 10]).max() <= 1
    np.testing.assert_array_equal(chosen, choose_points(labels, 100))
    np.testing.assert_array_equal(choose_points(labels[:50], 100), np.arange(50))


def test_pca_keeps_the_most_variance():
    points = np.random.default_rng(0).normal(size=(200, 5)) * [1, 10, 1, 5, 1]
    found = project_pca(points)
    np.testing.assert_allclose(np.abs(np.corrcoef(found[:, 0], points[:, 1])[0, 1]), 1, atol=1e-2)
    np.testing.assert_allclose(found.std(0), [10, 5], rtol=0.15)
    np.testing.assert_allclose(found, project_pca(points + 3), atol=1e-3)


def test_each_snapshot_starts_where_the_last_ended():
    points, _ = clusters(spread=2.0)
    first, second = align_tsne([points, points + 0.01])
    np.testing.assert_array_equal(first, project_tsne(points))
    np.testing.assert_array_equal(second, project_tsne(points + 0.01, first))
    # A mirrored start must lead to a mirrored picture: the start decides, not PCA.
    assert np.corrcoef(first.ravel(), project_tsne(points, -first).ravel())[0, 1] < -0.8


@pytest.mark.parametrize("size", [1, 2, 3, 4, 12])
def test_few_or_collapsed_points_are_projected(size):
    points, labels = clusters(size)
    for values in (points, np.zeros_like(points), points[:, :1]):
        found = project_tsne(values)
        assert found.shape == (size, 2)
        assert np.isfinite(found).all()
        projection_numbers(values, found, labels)


def test_numbers_tell_classes_from_noise():
    points, labels = clusters()
    plane = project_tsne(points)
    numbers = projection_numbers(points, plane, labels)
    assert numbers.knn == numbers.knn_2d == 1
    assert min(numbers.silhouette, numbers.silhouette_2d) > 0.5
    assert numbers.trustworthiness > 0.85
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(labels)
    noise = projection_numbers(points, rng.normal(size=plane.shape), shuffled)
    assert noise.knn == pytest.approx(1 / 3, abs=0.2)
    assert abs(noise.silhouette) < 0.1
    assert noise.trustworthiness < 0.7
    # A point does not vote for itself.
    assert knn_accuracy(np.array([[0.0], [1.0], [10.0], [11.0]]), np.arange(4)) == 0


def test_coordinates_of_the_same_images_are_kept_until_embeddings_change(tmp_path):
    points, labels = clusters(40)
    snapshots = [embeddings(points, labels), embeddings(points + 0.1, labels)]
    snapshots = projections.choose_same(snapshots, 30)
    path = tmp_path / "kept.npz"
    assert projections.kept_projections(path, snapshots) is None
    found = projections.project_snapshots(path, snapshots)
    again = projections.kept_projections(path, snapshots)
    for kind in ("pca", "tsne"):
        for new, kept in zip(found[kind], again[kind], strict=True):
            np.testing.assert_array_equal(new.coordinates, kept.coordinates)
            assert new.numbers == kept.numbers
            assert len(kept.labels) == 30
    moved = [snapshots[0], embeddings(snapshots[1].values + 0.1, snapshots[1].labels)]
    assert projections.kept_projections(path, moved) is None
    path.write_bytes(b"torn")
    assert projections.kept_projections(path, snapshots) is None
    other = Embeddings(points, labels, np.arange(40) + 1)
    with pytest.raises(ValueError, match="not of the same images"):
        projections.choose_same([embeddings(points, labels), other])


def test_what_lost_workers_did_not_project_is_projected_here(tmp_path):
    for model in ("convnet", "resnet18"):
        make_cell(tmp_path, model, num_images=(60, 80), files=True)
    cells, _ = gather(tmp_path)
    found = [projections.find_projected(cell, tmp_path / "kept", "test") for cell in cells]

    def lose_workers():
        yield projections.project_snapshots(found[0].kept, found[0].snapshots)
        raise BrokenProcessPool

    projections.finish_projections(found, lose_workers())
    for each in found:
        kept = projections.kept_projections(each.kept, each.snapshots)
        np.testing.assert_array_equal(each.of("tsne")[0].coordinates, kept["tsne"][0].coordinates)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"embeddings": np.array([[np.inf]]), "labels": [0], "indices": [0]}, "not finite"),
        ({"embeddings": np.ones(3), "labels": [0] * 3, "indices": [0] * 3}, "do not belong"),
        ({"embeddings": np.ones((3, 2)), "labels": [0] * 2, "indices": [0] * 3}, "do not belong"),
        ({"embeddings": np.ones((3, 0)), "labels": [0] * 3, "indices": [0] * 3}, "no embeddings"),
        ({"embeddings": np.ones((3, 2))}, "not a file of embeddings"),
        (b"PK torn", "not a file of embeddings"),
    ],
)
def test_embeddings_that_cannot_be_projected_are_named(arrays, message, tmp_path):
    path = tmp_path / "embeddings-test.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read_embeddings(path)
