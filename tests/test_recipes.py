"""Today's recipes: presets, smoothed and mixed labels, predictions with the mirrored image."""

from dataclasses import replace

import pytest
import torch
from helpers.cells import CPU, SMALL, compose, generator
from helpers.points import build_for_logits
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from sslbench.build import build
from sslbench.cell.changes import find_changes
from sslbench.cell.identity import cell_id
from sslbench.config.compose import compose_settings
from sslbench.engine.step import CapturedStep
from sslbench.evaluate.cell import evaluate
from sslbench.machine.hardware import auto_precision
from sslbench.methods.supervised import Supervised
from sslbench.sweep.plan import parent_overrides

PRESETS = {"supervised": "supervised", "self": "barlow", "semi": "semi"}
"""Kind of learning, and the paper's method of that kind."""


def image_passes(settings, num_labeled=5_000, num_unlabeled=100_000):
    streams = settings.method.streams(settings.ratio)
    first = {"labeled": num_labeled, "unlabeled": num_unlabeled}[streams[0].of]
    views = sum(stream.batch_size * len(stream.views) for stream in streams)
    return settings.method.epochs * first / streams[0].batch_size * views


@pytest.mark.parametrize("kind", PRESETS)
def test_a_preset_suits_the_encoder_and_takes_no_more_image_passes_than_the_paper(kind):
    strong = compose_settings([f"preset=strong_{kind}", "model=wrn45_2"])
    paper = compose_settings([f"method={PRESETS[kind]}"])
    assert strong.model.bn_momentum == 0.1
    assert 0.9 * image_passes(paper) < image_passes(strong) <= image_passes(paper)


def test_a_preset_is_the_one_change_of_its_cells():
    typed = ["data=digits", "model=wrn45_2", "preset=strong_semi", "method=freematch"]
    settings = compose_settings([*typed, "optimizer.lr=0.5", "steps=9", "ratio.of=batch"])
    # The ratio alone says then how many unlabelled images a step has.
    method = settings.method.settled(settings.ratio, lambda: 60)
    settings = replace(settings, method=method, precision=auto_precision("cpu"))
    choices = {"model": "wrn45_2", "method": "freematch", "preset": "strong_semi"}
    expected = {"preset": "strong_semi", "optimizer.lr": 0.5, "steps": 9, "ratio.of": "batch"}
    assert find_changes(settings, choices) == expected


def test_a_cell_to_start_from_has_the_preset_that_is_named_and_not_its_childs():
    words = parent_overrides(["preset=strong_semi", "seed=1"], "simclr preset=strong_self")
    assert words == ["seed=1", "method=simclr", "init.from=null", "preset=strong_self"]


@pytest.mark.parametrize("kind", PRESETS)
def test_a_preset_trains_captured_as_operation_by_operation(kind, outputs):
    few = ["method.unlabeled_batch_size=8"] * (kind == "semi")
    found = []
    for captured in (False, True):
        training = build(compose(f"preset=strong_{kind}", SMALL, f"outputs={outputs}", *few))
        before = [weights.clone() for weights in training.method.parameters()]
        take_step = training.take_step
        if captured:
            take_step = CapturedStep(take_step, CPU, lambda function: function)
        found.append([take_step(step)["loss"].item() for step in range(2)])
        after = training.method.parameters()
        assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert found[0] == found[1]


def test_a_preset_of_todays_is_named_by_its_kind():
    assert cell_id(compose("preset=paper")) == cell_id(compose())
    with pytest.raises(Exception, match="strong"):
        compose("preset=strong")


def test_a_prediction_with_the_mirrored_image_is_the_mean_of_both(outputs):
    typed = (SMALL, f"outputs={outputs}", "precision=fp32")
    training = build(compose(*typed))
    plain = evaluate(training, ("val",))["val"]
    mirrored = build(compose(*typed, "method.mirrored=true"))
    mirrored.method.load_state_dict(training.method.state_dict())
    both = evaluate(mirrored, ("val",))["val"]
    split = training.images.val
    views = training.plain_view.apply(split.store.take(torch.from_numpy(split.indices)))
    with torch.inference_mode():
        flipped = training.method.logits(views.flip(3))
    assert_close(both.logits, (plain.logits + flipped) / 2, rtol=0, atol=1e-4)
    assert not torch.allclose(both.logits, plain.logits, atol=1e-3)


def test_smoothed_labels_are_the_formula():
    points, labels = torch.randn(6, 4, generator=generator()), torch.arange(6) % 4
    learner = build_for_logits(Supervised(label_smoothing=0.2))
    loss = learner({"view": points, "labels": labels}).loss
    each = -points.double().log_softmax(1)
    expected = 0.8 * each[torch.arange(6), labels].mean() + 0.2 * each.mean()
    assert_close(loss, expected.float())


def test_both_labels_of_mixed_images_reach_the_loss_and_the_accuracy():
    points, labels = torch.randn(6, 4, generator=generator()), torch.arange(6) % 4
    shares = torch.tensor([1.0, 0.0, 0.5, 0.25, 0.9, 0.6])
    batch = {"view": points, "labels": labels, "view_shares": shares}
    found = build_for_logits(Supervised())(batch)
    own, other = (cross_entropy(points, it, reduction="none") for it in (labels, labels.roll(1)))
    assert_close(found.loss, (shares * own + (1 - shares) * other).mean())
    right = [points.argmax(1) == it for it in (labels, labels.roll(1))]
    assert_close(found.metrics["accuracy"], (shares * right[0] + (1 - shares) * right[1]).mean())
