"""Losses and scores against their formulas."""

from itertools import product

import pytest
import torch
from helpers.cells import generator
from torch.testing import assert_close

from sslbench.evaluate.score import score
from sslbench.methods.byol import byol_loss
from sslbench.methods.losses import accuracy, barlow_twins_loss, cross_entropy, masked_cross_entropy
from sslbench.methods.mixed_barlow_twins import mixing_loss
from sslbench.methods.simclr import nt_xent_loss
from sslbench.methods.vicreg import vicreg_terms


def two_views(num, dim):
    z_a = torch.randn(num, dim, generator=generator(1))
    return z_a, z_a + 0.5 * torch.randn(num, dim, generator=generator(2))


def standardized(z):
    return (z - z.mean(0)) / (z.var(0, False) + 1e-5).sqrt()


def barlow_twins_by_its_matrix(z_a, z_b):
    """Zbontar et al. 2021, eq. 1 and 2."""
    c = standardized(z_a).T @ standardized(z_b) / len(z_a)
    redundancy = c[~torch.eye(len(c), dtype=torch.bool)].square().sum()
    return (1 - c.diagonal()).square().sum() + 0.1 * redundancy


def nt_xent_by_pairs(z_a, z_b):
    """Chen et al. 2020, eq. 1."""
    z, num, total = [*z_a, *z_b], len(z_a), 0
    for i in range(2 * num):
        similar = [z[i] @ it / (z[i].norm() * it.norm()) for it in z]
        scores = [(it / 0.3).exp() for it in similar]
        total -= (scores[(i + num) % (2 * num)] / (sum(scores) - scores[i])).log()
    return total / (2 * num)


def vicreg_by_features(z_a, z_b):
    """Bardes et al. 2022, eq. 1 to 6, with the mean over features in eq. 5."""
    num, dim = z_a.shape
    total = 15 * sum((a - b).square().sum() for a, b in zip(z_a, z_b, strict=True)) / num / dim
    for z in (z_a, z_b):
        mean = sum(z) / num
        covariance = sum(torch.outer(it - mean, it - mean) for it in z) / (num - 1)
        for i, j in product(range(dim), range(dim)):
            if i == j:
                total = total + 20 * (1 - (covariance[i, i] + 1e-4).sqrt()).clamp(min=0) / dim
            else:
                total = total + 2 * covariance[i, j].square() / dim
    return total


def weighted_vicreg(z_a, z_b):
    invariance, variance, covariance = vicreg_terms(z_a, z_b)
    return 15 * invariance + 20 * variance + 2 * covariance


def byol_by_images(z_a, z_b):
    """Grill et al. 2020, eq. 2, which is |a - b|^2 of unit vectors."""
    distances = [
        (a / a.norm() - b / b.norm()).square().sum() for a, b in zip(z_a, z_b, strict=True)
    ]
    return sum(distances) / len(z_a)


def mixed_projections(z_a, z_b):
    return torch.tanh(z_a - 2 * z_b)


def mixing_by_features(z_a, z_b):
    """Bandara et al. 2023, by each correlation of two features, for a share of 0.3."""
    num, dim = z_a.shape
    a, b, mixed = map(standardized, (z_a, z_b, mixed_projections(z_a, z_b)))
    partners, total = torch.stack([b[-1], *b[:-1]]), 0
    for i, j, z in product(range(dim), range(dim), (a, b)):
        found = mixed[:, i] @ z[:, j] / num
        wanted = 0.3 * (a[:, i] @ z[:, j]) / num + 0.7 * (partners[:, i] @ z[:, j]) / num
        total = total + (found - wanted).square()
    return total


LOSSES = {
    "barlow_twins": lambda z_a, z_b: barlow_twins_loss(z_a, z_b, 0.1),
    "nt_xent": lambda z_a, z_b: nt_xent_loss(z_a, z_b, 0.3),
    "vicreg": weighted_vicreg,
    "byol": byol_loss,
    "mixing": lambda z_a, z_b: mixing_loss(z_a, z_b, mixed_projections(z_a, z_b), 0.3),
}
FORMULAS = {
    "barlow_twins": barlow_twins_by_its_matrix,
    "nt_xent": nt_xent_by_pairs,
    "vicreg": vicreg_by_features,
    "byol": byol_by_images,
    "mixing": mixing_by_features,
}


@pytest.mark.parametrize(("num", "dim"), [(4, 12), (12, 4)])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_two_views_and_its_gradients_are_the_formula(name, num, dim):
    loss, formula = LOSSES[name], FORMULAS[name]
    views = [z.requires_grad_() for z in two_views(num, dim)]
    exact = [z.detach().double().requires_grad_() for z in views]
    found, expected = loss(*views), formula(*exact)
    found.backward()
    expected.backward()
    assert_close(found, expected.float(), rtol=1e-5, atol=0)
    for mine, other in zip(views, exact, strict=True):
        assert_close(mine.grad, other.grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_flat_feature_gives_a_finite_loss_and_gradient(loss):
    z_a, z_b = two_views(8, 4)
    z_a[:, 2] = 3.0
    found = loss(z_a.requires_grad_(), z_b)
    found.backward()
    assert found.isfinite()
    assert z_a.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_loss_of_two_views_stays_float32_under_autocast(loss):
    views = two_views(64, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*views)
    assert_close(found, loss(*views), rtol=0, atol=0)


def test_nt_xent_is_least_for_equal_views_and_chance_for_equal_images():
    z, _ = two_views(8, 24)
    assert nt_xent_loss(z, 3 * z, 0.01) < 1e-6  # an image's views alone are alike
    alike = torch.ones(8, 24)
    assert_close(nt_xent_loss(alike, alike, 0.1), torch.tensor(15.0).log())


def test_vicregs_terms_vanish_for_equal_views_of_unit_variance_without_covariance():
    # Columns of a Hadamard matrix: signs that are orthogonal to each other and to a constant.
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    signs = torch.kron(torch.kron(two, two), two)[:, 1:]
    assert_close(torch.stack(vicreg_terms(signs, signs)), torch.zeros(3))
    shifted = vicreg_terms(signs, signs + 2)
    assert_close(torch.stack(shifted), torch.tensor([4.0, 0.0, 0.0]))
    collapsed = vicreg_terms(torch.ones(8, 7), torch.ones(8, 7))
    assert_close(torch.stack(collapsed), torch.tensor([0.0, 2 * 0.99, 0.0]))


def test_byol_is_0_for_equal_directions_and_4_for_opposite_ones():
    z, _ = two_views(8, 24)
    assert_close(byol_loss(z, 3 * z), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert_close(byol_loss(z, -2 * z), torch.tensor(4.0))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mixing_costs_nothing_where_only_one_image_is_mixed(share):
    z_a, z_b = two_views(8, 24)
    mixed = z_a if share else z_b.roll(1, 0)
    assert_close(mixing_loss(z_a, z_b, mixed, share), torch.tensor(0.0), rtol=0, atol=1e-8)
    assert mixing_loss(z_a, z_b, mixed, 1 - share) > 1


def test_cross_entropies_stay_float32_under_autocast():
    logits, labels = torch.randn(64, 16, generator=generator(1)), torch.arange(64) % 16
    half = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = cross_entropy(half, labels)
        masked = masked_cross_entropy(half, labels, torch.ones(64))
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
