import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sslbench.methods.losses import (
    barlow_twins_loss,
    cross_entropy,
    masked_cross_entropy,
    standardize,
)


def numpy_barlow_twins(z_a, z_b, lambd, eps=1e-5):
    """Zbontar et al. 2021, eq. 1 and 2, in float64 and in loops over the matrix."""
    a, b = (np.asarray(z, dtype=np.float64) for z in (z_a, z_b))
    a = (a - a.mean(0)) / np.sqrt(a.var(0) + eps)
    b = (b - b.mean(0)) / np.sqrt(b.var(0) + eps)
    correlation = a.T @ b / len(a)
    dim = correlation.shape[0]
    invariance = sum((1 - correlation[i, i]) ** 2 for i in range(dim))
    redundancy = sum(correlation[i, j] ** 2 for i in range(dim) for j in range(dim) if i != j)
    return invariance + lambd * redundancy


@pytest.mark.parametrize(("num", "dim"), [(8, 24), (24, 8), (16, 16)])
def test_barlow_twins_equals_the_formula_in_float64(num, dim):
    generator = torch.Generator().manual_seed(1)
    z_a = torch.randn(num, dim, generator=generator)
    z_b = z_a + 0.5 * torch.randn(num, dim, generator=generator)
    loss = barlow_twins_loss(z_a, z_b, 0.0051)
    assert loss.item() == pytest.approx(numpy_barlow_twins(z_a, z_b, 0.0051), rel=1e-5)


@pytest.mark.parametrize("dim", [40, 30])  # N = 32: through the N x N and the D x D form
def test_barlow_twins_gradient_equals_that_of_float64(dim):
    z_a, z_b = torch.randn(2, 32, dim, generator=torch.Generator().manual_seed(2))
    z_a.requires_grad_()
    barlow_twins_loss(z_a, z_b, 0.1).backward()

    reference = z_a.detach().double().requires_grad_()
    a, b = standardize(reference), standardize(z_b.double())
    c = a.T @ b / 32
    off_diagonal = c[~torch.eye(dim, dtype=torch.bool)]
    ((1 - c.diagonal()).square().sum() + 0.1 * off_diagonal.square().sum()).backward()
    assert_close(z_a.grad, reference.grad.float(), rtol=1e-4, atol=1e-6)


def test_barlow_twins_of_identical_uncorrelated_features_is_zero():
    # Rows of a Hadamard matrix: features of unit variance, exactly uncorrelated.
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert barlow_twins_loss(z, z, 1.0).item() == pytest.approx(0.0, abs=1e-8)


def test_barlow_twins_of_opposite_views_is_four_per_feature():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert barlow_twins_loss(z, -z, 0.0).item() == pytest.approx(8.0, rel=1e-4)


def test_a_flat_feature_gives_a_finite_loss_and_gradient():
    z = torch.randn(8, 4)
    z[:, 2] = 3.0
    z.requires_grad_()
    loss = barlow_twins_loss(z, z.detach() * 2, 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z.grad).all()


def test_the_loss_stays_float32_under_autocast():
    z_a, z_b = torch.randn(2, 64, 16)
    expected = barlow_twins_loss(z_a, z_b, 0.0051)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(barlow_twins_loss(z_a, z_b, 0.0051), expected, rtol=0, atol=0)


def test_cross_entropy_equals_numpy():
    logits, labels = torch.randn(6, 10), torch.arange(6)
    x = logits.double().numpy()
    log_probabilities = x - np.log(np.exp(x).sum(1, keepdims=True))
    expected = -log_probabilities[np.arange(6), labels.numpy()].mean()
    assert cross_entropy(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_masked_cross_entropy_divides_by_the_whole_batch():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    mask = torch.tensor([1.0, 0.0, 0.0, 1.0])
    kept = cross_entropy(logits[[0, 3]], labels[[0, 3]])
    assert_close(masked_cross_entropy(logits, labels, mask), kept / 2)
    assert masked_cross_entropy(logits, labels, torch.zeros(4)).item() == 0


def test_hard_labels_are_the_limit_of_soft_ones():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    soft = torch.nn.functional.one_hot(labels, 3).float()
    ones = torch.ones(4)
    assert_close(
        masked_cross_entropy(logits, soft, ones), masked_cross_entropy(logits, labels, ones)
    )
