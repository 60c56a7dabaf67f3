"""What every method keeps with every model, and what each one computes."""

import re

import pytest
import torch
from helpers.cells import CPU, SMALL, choices, compose, noise_batch
from torch.testing import assert_close

from sslbench.build import build_method
from sslbench.cell import checkpoint
from sslbench.config.parts import Sizes
from sslbench.engine.device import autocast

METHODS, MODELS = choices("method"), choices("model")
SIZES = Sizes(num_classes=10, num_labeled=60, num_unlabeled=1200, num_pool=1200)


def build(*overrides):
    settings = compose(*overrides)
    return build_method(settings, SIZES, CPU).train(), noise_batch(settings)


CASES = [(method, "convnet", precision) for method in METHODS for precision in ("fp32", "bf16")]
# Of one class, one is enough: wrn37_2 has the class of wrn45_2, and more weights. The method of the
# most views stands for the others, and fp32 for bf16, which the ConvNet is tried in.
CASES += [
    pytest.param(method, model, precision, marks=[] if is_quick else [pytest.mark.slow])
    for method in ("supervised", "barlow", "semi")
    for model in MODELS
    for precision in ("fp32", "bf16")
    if model != "convnet"
    for is_quick in [(method, precision) == ("semi", "fp32") and model != "wrn37_2"]
]


@pytest.mark.parametrize(("method", "model", "precision"), CASES)
def test_every_method_keeps_the_contract_with_every_model(method, model, precision):
    module, batch = build(f"method={method}", f"model={model}")
    given = {name: tensor.clone() for name, tensor in batch.items()}
    with autocast(precision, CPU)():
        step = module(batch)
    assert (step.loss.shape, step.loss.dtype) == ((), torch.float32)
    assert step.loss.isfinite()
    assert all(value.shape == () and not value.requires_grad for value in step.metrics.values())
    assert all(torch.equal(batch[name], given[name]) for name in given)
    step.loss.backward()
    trained = [weights for group in module.param_groups() for weights in group["params"]]
    assert trained
    assert all(it.grad is not None and it.grad.isfinite().all() for it in trained)
    assert {id(it) for it in trained} == {id(it) for it in module.parameters() if it.requires_grad}


@pytest.mark.parametrize("method", ["supervised", "barlow", "semi"])
def test_a_few_steps_lower_the_loss(method):
    """Of an encoder of images; what each other method learns is proved on points of their own."""
    settings = compose(f"method={method}", "model.channels=16")
    module, batch = build_method(settings, SIZES, CPU).train(), noise_batch(settings, 8)
    optimizer = settings.optimizer.build(module.param_groups(), CPU)
    losses = []
    for _ in range(12):
        loss = module(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_weights_depend_on_the_seed_alone(method):
    state = torch.get_rng_state()
    first = checkpoint.digest(build(f"method={method}", SMALL, "seed=3")[0])
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    torch.rand(5)
    assert checkpoint.digest(build(f"method={method}", SMALL, "seed=3")[0]) == first
    assert checkpoint.digest(build(f"method={method}", SMALL, "seed=4")[0]) != first


class TestSemi:
    def build(self, *overrides):
        return build("method=semi", SMALL, *overrides)

    @pytest.mark.parametrize("labels", ["hard", "soft"])
    def test_the_loss_is_its_formula(self, labels):
        module, batch = self.build(f"method.pseudo_labels={labels}", "method.unlabeled_weight=0.3")
        with torch.no_grad():
            weak = module.logits(batch["weak"]).double().softmax(1)
            strong = module.logits(batch["strong"]).double().log_softmax(1)
        confidence, classes = weak.max(1)
        module.threshold = confidence.sort().values[1:3].mean().item()
        kept = confidence >= module.threshold
        assert kept.sum() == 2, "the threshold must separate"
        targets = torch.eye(10, dtype=torch.float64)[classes] if labels == "hard" else weak
        expected = -(targets * strong).sum(1)[kept].sum() / 4
        labeled = torch.nn.functional.cross_entropy(
            module.logits(batch["labeled"]), batch["labels"]
        )
        loss, metrics = module(batch)
        assert_close(loss.detach(), metrics["loss_labeled"] + 0.3 * metrics["loss_unlabeled"])
        share = torch.bincount(classes, minlength=10).double() / 4
        for name, value in {
            "loss_labeled": labeled,
            "loss_unlabeled": expected,
            "kept": kept.double().mean(),
            "confidence": confidence.mean(),
            "pseudo_label_max_share": share.max(),
            "pseudo_label_entropy": torch.special.entr(share).sum(),
        }.items():
            assert metrics[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name

    @pytest.mark.parametrize("weak_pass", ["separate", "joint"])
    def test_no_gradient_flows_through_the_weak_view(self, weak_pass):
        soft = "method.pseudo_labels=soft"  # hard ones have no gradient anyway
        module, batch = self.build(f"method.weak_pass={weak_pass}", soft)
        batch["weak"].requires_grad_()
        batch["strong"].requires_grad_()
        module(batch).loss.backward()
        assert batch["weak"].grad is None or not batch["weak"].grad.any()
        assert batch["strong"].grad.any()

    def test_both_passes_agree_without_batch_norm_and_differ_with_it(self):
        passes = ("method.weak_pass=separate", "method.weak_pass=joint")
        for model, agree in (("convnet", True), ("resnet18", False)):
            built = [build("method=semi", f"model={model}", each) for each in passes]
            separate, joint = (module(batch).loss for module, batch in built)
            assert torch.isclose(separate, joint) == agree


AVERAGES = [(method, "method.ema") for method in ("supervised", "barlow", "semi")]


@pytest.mark.parametrize(("method", "decay"), [*AVERAGES, ("mean_teacher", "method.teacher_decay")])
def test_an_average_follows_the_weights_takes_over_buffers_and_is_evaluated(method, decay):
    words = (f"method={method}", "model=wrn45_2", "model.blocks_per_stage=1")
    words += ("model.stem_width=4", "model.widths=[4,4,4,4]", "model.strides=[2,2,2,2]")
    module, batch = build(*words, f"{decay}=0.9")
    loss = module(batch).loss
    assert_close(loss, build(*words)[0](batch).loss)  # it learns as it would without
    (trained,) = (group["params"] for group in module.param_groups())
    before = [weights.detach().clone() for weights in trained]
    loss.backward()
    torch.optim.SGD(trained, lr=0.1).step()
    module.after_step()
    averaged = [*module.evaluated_encoder.parameters()]
    if method != "barlow":  # whose classifier is fitted to the averaged encoder
        averaged += module.classifier(dict).parameters()
    for average, old, new in zip(averaged, before, trained, strict=True):
        assert average.grad is None
        assert not torch.equal(old, new)
        assert_close(average.data, old + 0.1 * (new - old))
    buffers = zip(module.evaluated_encoder.buffers(), module.encoder.buffers(), strict=True)
    same = all(torch.equal(average, buffer) for average, buffer in buffers)
    assert same == (method != "mean_teacher")  # whose teacher sees images of its own


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("method.ema", ["method=supervised", "method.ema=0.99"]),
        ("method.teacher_decay", ["method=mean_teacher", "method.ramp_up_steps=0"]),
        ("method.target_decay", ["method=byol"]),
        ("method.decay", ["method=softmatch", "method.ema=0"]),
        ("method.decay", ["method=freematch", "method.ema=0"]),
        ("method.ramp_up_steps", ["method=semi", "method.ramp_up_steps=101"]),
        ("model.bn_momentum", ["method=semi", "model=wrn45_2"]),
    ],
)
def test_what_takes_longer_than_a_training_is_said_with_a_value_that_does_not(setting, words):
    def said(num_steps, *more):
        settings = compose(*words, *more)
        return settings.model.too_slow(num_steps) + settings.method.too_slow(num_steps)

    (line,) = said(100)
    assert line.startswith(setting)
    better = re.findall(rf"; ({re.escape(setting)}=\S+) would", line)
    assert better or "shorter" in line
    assert said(100, *(better or [f"{setting}=100"])) == said(3000) == []


@pytest.mark.parametrize(
    ("typed", "instead", "said"),
    [
        ("method=fixmatch method.label_smoothing=0.1", "method.label_smoothing=0.05", "0.9, and"),
        ("method=flexmatch method.label_smoothing=0.1", "method.threshold=0.9", "=0.95"),
        ("preset=strong_semi method=mean_teacher method.ema=0.9", "method.ema=0", "lags behind"),
        ("preset=strong_supervised method=semi", "augmentation=strong_semi", "view_b: has no"),
    ],
)
def test_what_another_setting_undoes_is_said(typed, instead, said):
    (line,) = compose(*typed.split()).contradictions()
    assert said in line
    assert compose(*typed.split(), instead).contradictions() == []


def test_barlow_twins_projector_is_a_setting_and_it_reports_knn_on_each_split():
    module, batch = build("method=barlow", SMALL, "method.projector=[16,24]", "method.knn_k=1")
    embeddings = module.encoder(batch["view_a"])
    assert module.projector(embeddings).shape == (4, 24)
    plain, _ = build("method=barlow", SMALL)
    assert_close(plain.projector(embeddings), embeddings)
    train = torch.eye(10).repeat(2, 1), torch.arange(10).repeat(2)
    wrong = torch.eye(10), torch.arange(10).roll(1)
    found = module.evaluations(train, {"val": train, "test": wrong})
    assert found == {"knn": {"val": 1.0, "test": 0.0}}
