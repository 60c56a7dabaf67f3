"""From a step's number to its batch: which images, in which order, by which draws."""

import numpy as np
import pytest
import torch
from helpers.cells import SMALL, compose, small_batches

from sslbench.augment.views import PlainView
from sslbench.build import build
from sslbench.config.parts import LABELED
from sslbench.data.feed import IndexStream
from sslbench.randomness import generator

FAIR = ("flip", "grayscale")
"""Operations that are applied to half of the images here."""


def training_of(outputs, *overrides):
    return build(compose(SMALL, f"outputs={outputs}", *overrides))


def test_an_epoch_sees_each_image_once_and_any_step_can_be_asked_for_first():
    forward = IndexStream(10, 4, 0, "order").at(0, 5).tolist()
    seen = [position for batch in forward for position in batch]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    stream = IndexStream(10, 4, 0, "order")
    assert [stream.at(step).tolist() for step in reversed(range(5))] == [
        [it] for it in forward[::-1]
    ]
    larger_than_the_set = IndexStream(3, 8, 0, "order").at(0)
    assert sorted(np.bincount(larger_than_the_set[0].numpy())) == [2, 3, 3]


@pytest.mark.parametrize("batch_size", [8, 500])
def test_a_step_draws_what_its_row_of_a_block_drawn_by_hand_holds(batch_size, outputs):
    words = ("method=semi", f"method.batch_size={batch_size}", "seed=3")
    feed = training_of(outputs, *words).feed
    source, num_steps = feed.sources[0], feed.block_steps
    assert num_steps == (64 if batch_size == 8 else 29)
    step = num_steps + 5
    order = IndexStream(source.num_images, batch_size, 3, "labeled/order")
    (positions,) = order.at(step)
    drawn = feed.draw(step)["labeled"]
    assert drawn["indices"].tolist() == source.indices[positions.numpy()].tolist()
    (name,) = source.views
    for operation in ("flip", "jitter"):
        part = source.views[name].operations[operation]
        numbers = generator(3, f"labeled/{name}/{operation}", 1)
        applied = torch.rand(num_steps * batch_size, generator=numbers) < part.p
        expected = {"applied": applied, **part.sample(numbers, num_steps * batch_size, 96)}
        for key, values in expected.items():
            rows = values[5 * batch_size : 6 * batch_size]
            assert torch.equal(drawn["views"][name][operation][key], rows)


@pytest.mark.parametrize("method", ["supervised", "barlow", "semi", "mean_teacher"])
@pytest.mark.parametrize("augmented", [True, False])
def test_each_method_gets_its_views_and_which_images_they_show(method, augmented, outputs):
    more = small_batches(method) + ["augmentation=none"] * (not augmented)
    training = training_of(outputs, f"method={method}", "data.num_labeled=20", *more)
    settings, dataset = training.settings, training.dataset
    streams, files = settings.method.streams(settings.ratio), dataset.files
    plain = PlainView(torch.tensor(dataset.mean), torch.tensor(dataset.std))
    draws = [training.feed.draw(step) for step in (3, 3, 4)]
    batch, again, other = (training.feed.assemble(draw) for draw in draws)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert training.feed.images_per_step == sum(stream.batch_size for stream in streams)
    for stream in streams:
        indices = batch[f"{stream.of}_indices"]
        images = files.images["train"] if stream.of == LABELED else files.images["unlabeled"]
        shown = plain.apply(torch.from_numpy(images[indices.numpy()]))
        for name in stream.views:
            assert batch[name].shape == (stream.batch_size, 3, 96, 96)
            assert batch[name].is_contiguous(memory_format=torch.channels_last)
            assert not torch.equal(batch[name], other[name])
            assert torch.equal(batch[name], shown) != augmented
        first, *others = (batch[name] for name in stream.views)
        assert all(torch.equal(first, view) != augmented for view in others)
        if stream.of == LABELED:
            assert batch["labels"].tolist() == files.labels["train"][indices.numpy()].tolist()


def test_operations_views_streams_steps_and_seeds_draw_apart(outputs):
    half = [f"augmentation.{view}.{name}.p=0.5" for view in ("view_a", "view_b") for name in FAIR]
    found = []
    for seed in (0, 1):
        words = ("method=semi", "method.batch_size=64", f"seed={seed}", *half)
        feed = training_of(outputs, *words).feed
        for drawn in (*feed.draw(0).values(), *feed.draw(1).values()):
            for view in drawn["views"].values():
                found += [tuple(view[name]["applied"].tolist()) for name in FAIR]
    assert len(found) == len(set(found)) == 2 * 2 * 3 * 2


@pytest.mark.parametrize(
    ("stream", "overrides", "num_per_step", "num_seen"),
    [
        ("labeled", ["data.num_labeled=20"], 8, 20),
        ("unlabeled", ["ratio=1:1"], 64, 60),
        ("unlabeled", ["ratio=1:5"], 64, 256),
        ("unlabeled", ["ratio=1:5", "ratio.of=batch"], 40, 160),
    ],
)
def test_labels_and_ratio_limit_what_is_drawn(stream, overrides, num_per_step, num_seen, outputs):
    training = training_of(outputs, "method=semi", *overrides)
    draws = [training.feed.draw(step)[stream]["indices"] for step in range(4)]
    assert {len(indices) for indices in draws} == {num_per_step}
    assert len(torch.cat(draws).unique()) == num_seen
    too_few = "of which there are 60" in "".join(training.notes)
    assert too_few == (overrides == ["ratio=1:1"])
    if stream == "labeled":
        assert set(torch.cat(draws).tolist()) == set(training.dataset.splits.train.indices.tolist())
