"""How a cell is validated while it trains."""

import pytest
import torch
from helpers.cells import SMALL, compose
from torch.testing import assert_close

from sslbench.build import build
from sslbench.evaluate import cell
from sslbench.evaluate.validation import Validation


@pytest.fixture
def training(outputs):
    return build(compose("method=semi", SMALL, f"outputs={outputs}"))


def mean_color(views):
    """Stand in for logits of ten classes: they differ from view to view."""
    colors = views.float().mean((2, 3))
    return torch.cat([colors, -colors, 2 * colors - 1], dim=1)


def test_neither_embeddings_nor_views_depend_on_the_batches_they_come_in(training, monkeypatch):
    split = training.images.val
    assert len(split) > 40
    found = []
    for size in (40, 250):
        monkeypatch.setattr(cell, "CPU_BATCH", size)
        embeddings, labels = cell.embed_split(training, split)
        assert labels.tolist() == split.labels.tolist()
        views = []
        accuracy = Validation(training).view_accuracy(
            lambda batch, views=views: views.append(batch) or mean_color(batch), "view_a"
        )
        assert {len(batch) for batch in views[:-1]} <= {size}
        found.append((embeddings, torch.cat(views), accuracy))
    (embeddings, views, accuracy), (*others, other_accuracy) = found
    assert_close([embeddings, views], others)
    assert accuracy == other_accuracy > 0


def test_all_validations_see_the_same_views_drawn_once(training, monkeypatch):
    view, draws = training.views["view_a"], []
    sample = view.sample
    monkeypatch.setattr(view, "sample", lambda *given: draws.append(given) or sample(*given))
    validation = Validation(training)
    assert validation({}) == validation({})
    assert len(draws) == 1


def test_pseudo_labels_of_one_class_are_found_though_averaged_weights_may_know_more(training):
    def found(share):
        return cell.find_one_class(training, {"pseudo_label_max_share": share})

    assert found(0.99) == "99% of the pseudo-labels are of one class"
    assert found(0.9) is None
    assert cell.find_one_class(training, {}) is None
    training.feed.batch_sizes["unlabeled"] = 1  # of whose labels all are of one class
    assert found(1.0) is None
