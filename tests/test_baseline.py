"""The naive design, which sslbench's speed is measured against, computes what sslbench computes."""

import numpy as np
import pytest
import torch
from helpers.cells import CPU, SMALL, compose, random_bytes
from torch.testing import assert_close

from benchmarks.baseline.naive import NaiveTrainer, build_transform, to_pil
from sslbench.augment.operations import SIX
from sslbench.augment.views import RandomView
from sslbench.build import build_method, sizes_of
from sslbench.data import open_dataset

MEAN, STD = (0.44, 0.43, 0.40), (0.26, 0.25, 0.27)
SEMI = "method.weak_pass=joint method.threshold=0.5 method.unlabeled_weight=3"
CASES = {
    "method=supervised": ["view", "labels"],
    "method=barlow method.projector=[16,24]": ["view_a", "view_b"],
    f"method=semi {SEMI} method.unlabeled_batch_size=8": ["labeled", "labels", "weak", "strong"],
}


def trainer_of(outputs, *overrides):
    settings = compose("ratio=all", "method.batch_size=4", *overrides)
    dataset = open_dataset(settings.data, outputs)
    return settings, dataset, NaiveTrainer(settings, dataset, workers=0, device=CPU)


@pytest.mark.parametrize(
    ("words", "model"),
    [*((words, "convnet") for words in CASES), ([*CASES][-1], "resnet18")],  # with BatchNorm
)
def test_its_losses_are_ours(words, model, outputs):
    settings, dataset, trainer = trainer_of(outputs, f"model={model}", *words.split())
    ours = build_method(settings, sizes_of(settings, dataset), CPU).train()
    if hasattr(ours, "head"):
        torch.nn.init.normal_(ours.head.weight, std=8.0)  # confidences on both sides of 0.5
    encoder, last = trainer.model
    encoder.load_state_dict(ours.encoder.state_dict())
    last.load_state_dict((ours.head if hasattr(ours, "head") else ours.projector).state_dict())
    batch = trainer.next_batch()
    indices = {"unlabeled_indices": torch.arange(len(batch[-1]))}
    expected, metrics = ours(dict(zip(CASES[words], batch, strict=True)) | indices)
    assert_close(trainer.loss(trainer.model, *batch)[0], expected, rtol=1e-4, atol=1e-5)
    assert metrics.get("kept", 1) > 0
    assert trainer.images_per_step == (12 if SEMI in words else 4)
    assert np.isfinite(trainer.step()["loss"])


@pytest.mark.parametrize("certain", [("flip",), ("grayscale",), ("flip", "solarize")])
def test_its_views_without_chance_are_ours(certain):
    images, view = random_bytes(3), {name: kind(p=name in certain) for name, kind in SIX.items()}
    naive = [build_transform(view, MEAN, STD)(to_pil(image.numpy())) for image in images]
    ours = RandomView(view, torch.tensor(MEAN), torch.tensor(STD))
    expected = ours.apply(images, ours.sample(lambda name: torch.Generator(), 3, 96))
    # PIL rounds to whole values between operations.
    assert_close(torch.stack(naive), expected, rtol=0, atol=1.01 / 255 / min(STD))


@pytest.mark.parametrize(
    "words", ["semi method.ema=0.9", "semi method.pseudo_labels=soft", "barlow optimizer=sgd"]
)
def test_what_it_leaves_out_is_refused(words, outputs):
    with pytest.raises(ValueError, match="naive"):
        trainer_of(outputs, SMALL, *f"method={words}".split())
