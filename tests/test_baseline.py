import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cells import compose_settings
from torch import nn
from torch.testing import assert_close

from benchmarks.baseline.naive import NaiveTrainer, build_transform, to_pil
from benchmarks.end_to_end import step_flops
from benchmarks.measure import forward_flops, interleave, spread
from sslbench.augment.views import RandomView
from sslbench.build import build_method
from sslbench.config.settings import View
from sslbench.data import Dataset

CPU = torch.device("cpu")
METHODS = ("supervised", "barlow", "semi")
KEYS = {
    "supervised": ("view", "labels"),
    "barlow": ("view_a", "view_b"),
    "semi": ("labeled", "labels", "weak", "strong"),
}
MEAN, STD = (0.44, 0.43, 0.40), (0.26, 0.25, 0.27)
NOTHING = {"crop": 0, "flip": 0, "jitter": 0, "grayscale": 0, "blur": 0, "solarize": 0}


def random_bytes(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 96, 96), dtype=np.uint8)


@pytest.fixture(scope="module")
def dataset():
    num_labeled, num_unlabeled = 6, 24
    labels = np.arange(num_labeled) % 3
    return Dataset(
        name="noise",
        class_names=("a", "b", "c"),
        train_images=random_bytes(num_labeled),
        train_labels=labels,
        test_images=random_bytes(num_labeled, 1),
        test_labels=labels,
        unlabeled_images=random_bytes(num_unlabeled, 2),
        train_indices=np.arange(num_labeled),
        val_indices=np.arange(2),
        test_indices=np.arange(2, num_labeled),
        mean=MEAN,
        std=STD,
        fingerprint="",
    )


def settings_of(method, *overrides):
    sizes = ["method.batch_size=4"] + ["method.unlabeled_batch_size=8"] * (method == "semi")
    return compose_settings("data=digits", "ratio=all", f"method={method}", *sizes, *overrides)


def trainer_of(settings, dataset, workers=0):
    return NaiveTrainer(settings, dataset, workers=workers, device=CPU)


def share_weights(ours, trainer):
    """Give the naive model, encoder and then head or projector, our method's weights."""
    encoder, last = trainer.model
    encoder.load_state_dict(ours.encoder.state_dict())
    last.load_state_dict((ours.projector if hasattr(ours, "projector") else ours.head).state_dict())


@pytest.mark.parametrize("model", ["convnet", "resnet18", "wrn45_2"])
@pytest.mark.parametrize("method", METHODS)
def test_losses_are_those_of_sslbench(dataset, method, model):
    # The naive design knows one concatenated pass alone.
    joint = ["method.weak_pass=joint"] * (method == "semi")
    settings = settings_of(method, f"model={model}", *joint)
    trainer = trainer_of(settings, dataset)
    ours = build_method(settings, len(dataset.class_names), CPU).train()
    share_weights(ours, trainer)
    batch = trainer.next_batch()
    naive_loss, _ = trainer.loss(trainer.model, *batch)
    expected, _ = ours(dict(zip(KEYS[method], batch, strict=True)))
    assert torch.isfinite(naive_loss)
    assert_close(naive_loss, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("overrides", [("method.threshold=0.4",), ("method.unlabeled_weight=3",)])
def test_semi_supervised_settings_reach_the_loss(dataset, overrides):
    settings = settings_of("semi", "model.channels=8", *overrides)
    trainer = trainer_of(settings, dataset)
    ours = build_method(settings, len(dataset.class_names), CPU).train()
    # Large logits, so that some confidences lie beyond the threshold and others do not.
    nn.init.normal_(ours.head.weight, std=3.0)
    share_weights(ours, trainer)
    batch = trainer.next_batch()
    expected, metrics = ours(dict(zip(KEYS["semi"], batch, strict=True)))
    assert_close(trainer.loss(trainer.model, *batch)[0], expected, rtol=1e-5, atol=1e-5)
    assert metrics["kept"] > 0


def test_projector_reaches_the_barlow_twins_loss(dataset):
    settings = settings_of("barlow", "model.channels=8", "method.projector=[16,24]")
    trainer = trainer_of(settings, dataset)
    ours = build_method(settings, len(dataset.class_names), CPU).train()
    share_weights(ours, trainer)
    view_a, view_b = trainer.next_batch()
    expected, _ = ours({"view_a": view_a, "view_b": view_b})
    assert_close(trainer.loss(trainer.model, view_a, view_b)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_batches_are_views_of_the_sizes_asked_for(dataset, method):
    trainer = trainer_of(settings_of(method, "model.channels=8"), dataset)
    shapes = [tuple(tensor.shape) for tensor in trainer.next_batch()]
    four, eight = (4, 3, 96, 96), (8, 3, 96, 96)
    expected = {
        "supervised": [four, (4,)],
        "barlow": [four, four],
        "semi": [four, (4,), eight, eight],
    }
    assert shapes == expected[method]
    assert trainer.images_per_step == {"supervised": 4, "barlow": 4, "semi": 12}[method]


def test_both_views_are_of_one_image_and_labels_of_theirs(dataset):
    plain = [f"augmentation.{view}.{name}=0" for view in ("view_a", "view_b") for name in NOTHING]
    trainer = trainer_of(settings_of("semi", "model.channels=8", *plain), dataset)
    images, labels, weak, strong = trainer.next_batch()
    assert_close(weak, strong)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    everything = (torch.from_numpy(dataset.train_images) / 255 - mean) / std
    for image, label in zip(images, labels, strict=True):
        index = (everything - image).abs().amax(dim=(1, 2, 3)).argmin()
        assert_close(everything[index], image)
        assert label == dataset.train_labels[index]


def test_a_batch_may_be_larger_than_the_data_set(dataset):
    settings = settings_of("supervised", "model.channels=8", "method.batch_size=20")
    images, _ = trainer_of(settings, dataset).next_batch()
    assert len(images) == 20 > len(dataset.train_indices)


@pytest.mark.parametrize("method", METHODS)
def test_steps_lower_the_loss(dataset, method):
    plain = [f"augmentation.{view}.{name}=0" for view in ("view_a", "view_b") for name in NOTHING]
    trainer = trainer_of(settings_of(method, "model.channels=16", *plain), dataset)
    losses = [trainer.step()["loss"] for _ in range(12)]
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < losses[0]


def test_workers_deliver_batches(dataset):
    trainer = trainer_of(settings_of("barlow", "model.channels=8"), dataset, workers=1)
    assert np.isfinite(trainer.step()["loss"])


@pytest.mark.parametrize(
    "certain",
    [{}, {"flip": 1}, {"grayscale": 1}, {"solarize": 1}, {"flip": 1, "grayscale": 1}],
    ids=str,
)
def test_views_without_chance_are_those_of_sslbench(certain):
    view = View(**(NOTHING | certain))
    images = random_bytes(3)
    naive = torch.stack([build_transform(view, MEAN, STD)(to_pil(image)) for image in images])
    ours = RandomView(view, torch.tensor(MEAN), torch.tensor(STD))
    expected = ours.apply(torch.from_numpy(images), ours.sample(torch.Generator(), 3))
    # PIL rounds to whole values between operations.
    assert_close(naive, expected, rtol=0, atol=1.01 / 255 / min(STD))


@pytest.mark.parametrize("name", list(NOTHING))
def test_probabilities_are_the_settings(name):
    transform = build_transform(View(**(NOTHING | {name: 0.3})), MEAN, STD)
    image = to_pil(random_bytes(1)[0])
    plain = build_transform(View(**NOTHING), MEAN, STD)(image)
    torch.manual_seed(0)
    num_draws = 200
    changed = sum(not torch.equal(transform(image), plain) for _ in range(num_draws))
    # Four standard deviations of a binomial count.
    assert abs(changed / num_draws - 0.3) < 4 * (0.3 * 0.7 / num_draws) ** 0.5


@pytest.mark.parametrize(
    ("method", "override"),
    [
        ("semi", "method.ema=0.9"),
        ("semi", "method.pseudo_labels=soft"),
        ("barlow", "optimizer=sgd"),
    ],
)
def test_what_the_naive_design_leaves_out_is_refused(dataset, method, override):
    with pytest.raises(ValueError, match="naive"):
        trainer_of(settings_of(method, override), dataset)


def test_runs_alternate_and_are_summarized():
    order = []
    runs = interleave({name: lambda name=name: order.append(name) or name for name in "ab"}, 2)
    assert order == ["a", "b", "a", "b"]
    assert runs == {"a": ["a", "a"], "b": ["b", "b"]}
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, 2.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_flops_are_two_for_each_multiplication_and_addition():
    convolution = nn.Conv2d(3, 8, 3, stride=2, bias=False)
    assert forward_flops(convolution, image_side=9) == 2 * 8 * 4 * 4 * 3 * 9
    assert convolution.training


@pytest.mark.parametrize(
    ("method", "override", "passes"),
    [
        ("supervised", "seed=0", 3 * 4),
        ("barlow", "seed=0", 3 * 2 * 4),
        ("semi", "method.weak_pass=separate", 3 * (4 + 8) + 8),
        ("semi", "method.weak_pass=joint", 3 * (4 + 8 + 8)),
    ],
)
def test_flops_of_a_step_count_its_passes(method, override, passes):
    assert step_flops(settings_of(method, override), 10) == 10 * passes


def test_help_does_not_wait_for_torch():
    command = "import sys, benchmarks.end_to_end; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", command], cwd=root).returncode == 0
