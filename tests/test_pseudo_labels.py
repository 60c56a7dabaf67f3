"""The rules of pseudo-labels against their papers, in plain loops and in 64 bits."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.cells import generator
from helpers.points import NUM_CLASSES, POOL, build_for_logits, cross_entropy
from torch.testing import assert_close

from sslbench.methods.flexmatch import FlexMatch
from sslbench.methods.freematch import FreeMatch
from sslbench.methods.semi import Semi
from sslbench.methods.softmatch import SoftMatch

C, CLASSES = NUM_CLASSES, range(NUM_CLASSES)
UNIFORM = torch.full((C,), 1 / C, dtype=torch.float64)


def draw_batches(num_steps, num_images=8):
    """Draw logits of all certainties; an image may be twice in a batch."""
    drawn, batches = generator(1), []
    for _ in range(num_steps):
        batch = {
            name: 3 * torch.randn(num, C, generator=drawn)
            for name, num in (("labeled", 6), ("weak", num_images), ("strong", num_images))
        }
        batch["labels"] = torch.randint(C, (6,), generator=drawn)
        batch["unlabeled_indices"] = torch.randint(POOL, (num_images,), generator=drawn)
        batches.append(batch)
    return batches


def mean_of_kept(strong, weak, thresholds):
    """Return the loss of FixMatch's form, with a threshold for each class."""
    kept = [p.max() >= thresholds[p.argmax()] for p in weak]
    losses = [
        cross_entropy(logits, p.argmax()) * keep
        for logits, p, keep in zip(strong, weak, kept, strict=True)
    ]
    return sum(losses) / len(weak), kept


def thresholds_and_spread(thresholds):
    return {"threshold": sum(thresholds) / C, "threshold_spread": max(thresholds) - min(thresholds)}


def flexmatch(batches):
    """Zhang et al. 2021, algorithm 1."""
    learned = {}
    for weak, strong, indices in batches:
        sigma = [sum(label == c for label in learned.values()) for c in CLASSES]
        beta = [each / max(*sigma, POOL - sum(sigma)) for each in sigma]
        thresholds = [0.8 * each / (2 - each) for each in beta]
        loss, _ = mean_of_kept(strong, weak, thresholds)
        for p, index in zip(weak, indices, strict=True):
            if p.max() >= 0.8:
                learned[int(index)] = int(p.argmax())
        yield loss, thresholds_and_spread(thresholds)


def freematch(batches):
    """Wang et al. 2023, eq. 5 to 8, and the fairness of section 4.2."""
    tau, p_mean, h_mean = 1 / C, UNIFORM.clone(), UNIFORM.clone()
    for weak, strong, _ in batches:
        num = len(weak)
        tau = 0.5 * tau + 0.5 * sum(p.max() for p in weak) / num
        for c in CLASSES:
            p_mean[c] = 0.5 * p_mean[c] + 0.5 * sum(p[c] for p in weak) / num
            h_mean[c] = 0.5 * h_mean[c] + 0.5 * sum(p.argmax() == c for p in weak) / num
        thresholds = [tau * p_mean[c] / p_mean.max() for c in CLASSES]
        loss, kept = mean_of_kept(strong, weak, thresholds)
        q = [logits.softmax(0) for logits, keep in zip(strong, kept, strict=True) if keep]
        found = []
        for c in CLASSES:
            share = sum(each.argmax() == c for each in q) / len(q)
            found.append(sum(each[c] for each in q) / len(q) / share if share else torch.zeros(()))
        target = [p_mean[c] / h_mean[c] for c in CLASSES]
        fairness = sum(
            target[c] / sum(target) * torch.log(found[c] / sum(found) + 1e-12) for c in CLASSES
        )
        apart = {"loss_unlabeled": loss.detach(), "loss_fairness": 0.3 * fairness.detach()}
        yield loss + 0.3 * fairness, thresholds_and_spread(thresholds) | apart


def softmatch(batches):
    """Chen et al. 2023, section 3."""
    mu, variance, p_mean = 1 / C, 1.0, UNIFORM.clone()
    for weak, strong, _ in batches:
        num, loss = len(weak), 0
        p_mean = 0.5 * p_mean + 0.5 * sum(weak) / num
        aligned = [p * UNIFORM / p_mean for p in weak]
        confidence = [(p / p.sum()).max() for p in aligned]
        batch_mu = sum(confidence) / num
        mu = 0.5 * mu + 0.5 * batch_mu
        variance = 0.5 * variance + 0.5 * sum((it - batch_mu) ** 2 for it in confidence) / (num - 1)
        for logits, p, sure in zip(strong, weak, confidence, strict=True):
            weight = 1 if sure >= mu else math.exp(-((sure - mu) ** 2) / (2 * variance))
            loss += weight * cross_entropy(logits, p.argmax()) / num
        yield loss, {"threshold": mu, "threshold_deviation": variance**0.5}


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        (FlexMatch(threshold=0.8), flexmatch),
        (FreeMatch(decay=0.5, fairness_weight=0.3), freematch),
        (SoftMatch(decay=0.5), softmatch),
    ],
    ids=lambda it: it.__name__ if callable(it) else "",
)
def test_a_rule_and_its_gradient_are_the_papers_step_after_step(settings, reference):
    module, batches = build_for_logits(settings), draw_batches(6)
    strong = [batch["strong"].double().requires_grad_() for batch in batches]
    plain = [
        (batch["weak"].double().softmax(1), logits, batch["unlabeled_indices"])
        for batch, logits in zip(batches, strong, strict=True)
    ]
    shares = set()
    for batch, logits, (expected, more) in zip(batches, strong, reference(plain), strict=True):
        batch["strong"].requires_grad_()
        loss, metrics = module(batch)
        labeled = F.cross_entropy(batch["labeled"], batch["labels"])
        assert_close(loss.detach(), (labeled + expected).float(), rtol=1e-5, atol=1e-6)
        for name, value in more.items():
            assert metrics[name].item() == pytest.approx(float(value), rel=1e-5), name
        loss.backward()
        expected.backward()
        assert_close(batch["strong"].grad, logits.grad.float(), rtol=1e-4, atol=1e-6)
        shares.add(metrics["kept"].item())
    assert len(shares - {1.0}) > 1, "what counts must change"


def losses_of(settings, batches):
    module = build_for_logits(settings)
    return [module(batch).loss.item() for batch in batches]


def test_flexmatch_is_fixmatch_once_all_classes_are_learned_alike():
    sure = draw_batches(1, num_images=POOL)[0]
    sure["weak"] = 20 * torch.eye(C).repeat(POOL // C, 1)
    sure["unlabeled_indices"] = torch.arange(POOL)
    batches = [sure, *draw_batches(3)]
    for batch in batches[1:]:
        batch["weak"] = batch["weak"].clamp_max(batch["weak"].topk(2).values.amin() + 1)
    flexible, fixed = (losses_of(kind(threshold=0.9), batches) for kind in (FlexMatch, Semi))
    assert flexible == pytest.approx(fixed, rel=1e-6)
    assert flexible != pytest.approx(losses_of(Semi(), batches), rel=1e-6)


def test_a_class_that_is_not_learned_has_no_threshold_in_flexmatch():
    batch = draw_batches(1)[0]
    assert losses_of(FlexMatch(), [batch]) == losses_of(Semi(threshold=0.0), [batch])


@pytest.mark.parametrize("aligned", [True, False])
def test_softmatch_with_a_wide_gaussian_has_no_threshold(aligned):
    wide, batches = SoftMatch(width=1e9, uniform_alignment=aligned), draw_batches(3)
    assert losses_of(wide, batches) == pytest.approx(losses_of(Semi(), batches), rel=1e-6)


def test_freematch_begins_with_the_threshold_of_chance_for_all_classes():
    _, metrics = build_for_logits(FreeMatch(decay=1 - 1e-7))(draw_batches(1)[0])
    assert metrics["threshold"].item() == pytest.approx(1 / C, rel=1e-5)
    assert metrics["threshold_spread"].item() == pytest.approx(0, abs=1e-5)


def test_freematch_without_a_kept_image_has_no_loss_and_finite_gradients():
    module, batch = build_for_logits(FreeMatch(decay=0.0)), draw_batches(1)[0]
    batch["weak"] = torch.zeros_like(batch["weak"]) + 1e-6 * torch.eye(C)[0]
    logits = batch["strong"].requires_grad_()
    weights = torch.zeros(len(logits))
    loss = module.unlabeled_loss(logits, batch["weak"].softmax(1), weights)
    loss = loss + module.more_losses(logits, weights)["fairness"]
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("kind", [FlexMatch, FreeMatch, SoftMatch])
def test_a_step_goes_on_from_the_state_dict(kind):
    first, second = build_for_logits(kind()), build_for_logits(kind())
    *before, last = draw_batches(4)
    for batch in before:
        first(batch)
    second.load_state_dict(first.state_dict())
    expected = first(last).metrics
    assert second(last).metrics == expected != build_for_logits(kind())(last).metrics
