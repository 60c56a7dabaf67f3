"""Losses and scores against their formulas."""

import pytest
import torch
from helpers.cells import generator
from torch.testing import assert_close

from sslbench.evaluate.score import score
from sslbench.methods.losses import accuracy, barlow_twins_loss, cross_entropy, masked_cross_entropy


def two_views(num, dim):
    z_a = torch.randn(num, dim, generator=generator(1))
    return z_a, z_a + 0.5 * torch.randn(num, dim, generator=generator(2))


@pytest.mark.parametrize(("num", "dim"), [(8, 24), (24, 8)])
def test_barlow_twins_and_its_gradient_are_the_formula(num, dim):
    z_a, z_b = two_views(num, dim)
    reference = z_a.double().requires_grad_()
    # Zbontar et al. 2021, eq. 1 and 2, by the whole matrix.
    a, b = ((z - z.mean(0)) / (z.var(0, False) + 1e-5).sqrt() for z in (reference, z_b.double()))
    c = a.T @ b / num
    redundancy = c[~torch.eye(dim, dtype=torch.bool)].square().sum()
    expected = (1 - c.diagonal()).square().sum() + 0.1 * redundancy
    loss = barlow_twins_loss(z_a.requires_grad_(), z_b, 0.1)
    loss.backward()
    expected.backward()
    assert_close(loss, expected.float(), rtol=1e-5, atol=0)
    assert_close(z_a.grad, reference.grad.float(), rtol=1e-4, atol=1e-6)


def test_a_flat_feature_gives_a_finite_loss_and_gradient():
    z_a, z_b = two_views(8, 4)
    z_a[:, 2] = 3.0
    loss = barlow_twins_loss(z_a.requires_grad_(), z_b, 0.1)
    loss.backward()
    assert loss.isfinite()
    assert z_a.grad.isfinite().all()


def test_losses_stay_float32_under_autocast():
    z_a, z_b = two_views(64, 16)
    half, labels = z_a.bfloat16(), torch.arange(64) % 16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        barlow_twins, plain = barlow_twins_loss(z_a, z_b, 0.1), cross_entropy(half, labels)
        masked = masked_cross_entropy(half, labels, torch.ones(64))
    assert_close(barlow_twins, barlow_twins_loss(z_a, z_b, 0.1), rtol=0, atol=0)
    assert_close(plain, cross_entropy(half.float(), labels), rtol=1e-6, atol=0)
    assert_close(masked, plain)


def test_cross_entropies_and_accuracy_are_the_formula():
    logits, labels = torch.randn(6, 10, generator=generator()), torch.arange(6)
    each = -logits.double().log_softmax(1)[torch.arange(6), labels]
    assert_close(cross_entropy(logits, labels), each.mean().float())
    mask = torch.tensor([1.0, 0, 0, 1, 0, 0])
    masked = masked_cross_entropy(logits, labels, mask)
    assert_close(masked, (each[0] + each[3]).float() / 6)  # of the whole batch
    one_hot = torch.nn.functional.one_hot(labels, 10).float()
    assert_close(masked_cross_entropy(logits, one_hot, mask), masked)
    assert accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])) == 0.75


def test_a_score_counts_each_class():
    found = score(4 * torch.eye(3)[[0, 1, 1, 0]], torch.tensor([0, 1, 0, 0]))
    assert found.accuracy == 0.75
    assert found.confusion == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.loss == pytest.approx((4 * torch.tensor([4.0, 0, 0]).logsumexp(0) - 12).item() / 4)
