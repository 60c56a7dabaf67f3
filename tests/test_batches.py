import numpy as np
import pytest
import torch
from cells import TINY, compose_settings

from sslbench.build import build_parts
from sslbench.data.feed import IndexStream
from sslbench.randomness import derive_seed, generator


def test_seeds_differ_by_seed_purpose_and_step():
    seeds = {
        derive_seed(seed, purpose, step)
        for seed in range(3)
        for purpose in ("a", "b")
        for step in range(3)
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_repeats_itself():
    first, second = (torch.rand(4, generator=generator(1, "x", 2)) for _ in range(2))
    assert torch.equal(first, second)


def test_an_epoch_sees_each_image_once():
    stream = IndexStream(10, 4, seed=0, purpose="order")
    seen = torch.cat([stream.at(step) for step in range(5)])  # two epochs of ten
    assert sorted(seen[:10].tolist()) == list(range(10))
    assert sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_any_step_can_be_asked_for_first():
    forward = [IndexStream(7, 3, 0, "order").at(step).tolist() for step in range(6)]
    stream = IndexStream(7, 3, 0, "order")
    assert [stream.at(step).tolist() for step in reversed(range(6))] == forward[::-1]


def test_a_batch_may_be_larger_than_the_set():
    batch = IndexStream(3, 8, 0, "order").at(0)
    assert len(batch) == 8
    assert np.bincount(batch.numpy()).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


@pytest.mark.parametrize(
    ("method", "views", "count"),
    [
        ("supervised", {"view": 8}, 8),
        ("barlow", {"view_a": 8, "view_b": 8}, 8),
        ("semi", {"labeled": 8, "weak": 64, "strong": 64}, 72),
    ],
)
def test_each_method_gets_its_views(method, views, count, tmp_path):
    parts = build_parts(compose_settings(*TINY, f"method={method}", f"outputs={tmp_path}"))
    batch = parts.feed.assemble(parts.feed.draw(3))
    assert {name: len(view) for name, view in batch.items() if name != "labels"} == views
    assert parts.feed.images_per_step == count
    for name in views:
        assert batch[name].shape[1:] == (3, 96, 96)
        assert batch[name].is_contiguous(memory_format=torch.channels_last)
    again = parts.feed.assemble(parts.feed.draw(3))
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    other = parts.feed.assemble(parts.feed.draw(4))
    assert not torch.equal(batch[next(iter(views))], other[next(iter(views))])


def test_two_views_show_the_same_images_and_labels_fit(tmp_path):
    plain = compose_settings(
        *TINY, "method=semi", "augmentation=none", "ratio=1:1", f"outputs={tmp_path}"
    )
    parts = build_parts(plain)
    draw = parts.feed.draw(0)
    batch = parts.feed.assemble(draw)
    assert torch.equal(batch["weak"], batch["strong"])
    labels = parts.dataset.train_labels[draw["labeled/indices"].numpy()]
    assert batch["labels"].tolist() == labels.tolist()


def test_the_pool_limits_what_is_drawn(tmp_path):
    parts = build_parts(compose_settings(*TINY, "method=semi", "ratio=1:1", f"outputs={tmp_path}"))
    seen = {i for step in range(4) for i in parts.feed.draw(step)["unlabeled/indices"].tolist()}
    assert len(seen) == 60


def test_images_per_batch_is_the_other_reading_of_a_ratio(tmp_path):
    parts = build_parts(
        compose_settings(*TINY, "method=semi", "ratio=1:5", "ratio.of=batch", f"outputs={tmp_path}")
    )
    assert len(parts.feed.draw(0)["unlabeled/indices"]) == 40
