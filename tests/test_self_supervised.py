"""Methods that learn without labels: what each computes, and that it learns."""

import pytest
import torch
from helpers.cells import CPU, SMALL, compose, generator, noise_batch
from torch import nn
from torch.testing import assert_close

from sslbench.build import build_method
from sslbench.config.parts import Sizes

SIZES = Sizes(num_classes=10, num_labeled=60, num_unlabeled=1200, num_pool=1200)


def build(*overrides):
    settings = compose(*overrides)
    return build_method(settings, SIZES, CPU).train(), noise_batch(settings)


def toy_images(num, seed):
    """Return images of four patterns, `(num, 3, 8, 8)`, in much noise; and their classes."""
    patterns, labels = torch.randn(4, 3, 8, 8, generator=generator()), torch.arange(num) % 4
    noise = torch.randn(num, 3, 8, 8, generator=generator(seed))
    return 0.25 * patterns[labels] + noise, labels


@pytest.mark.parametrize("method", ["barlow", "byol", "mixed_barlow", "simclr", "vicreg"])
def test_without_labels_images_of_a_class_come_together(method):
    words = ["method.projector=[64]", "method.knn_k=5"]
    words += ["method.predictor=[64]"] * (method == "byol")
    torch.manual_seed(0)
    layers = (nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 16))
    encoder = nn.Sequential(nn.Flatten(), *layers)
    encoder.embedding_dim = 16
    module = compose(f"method={method}", *words).method.build(encoder, SIZES).train()

    @torch.no_grad()
    def embedded():
        return [(encoder(it), labels) for it, labels in map(toy_images, (40, 200), (1, 2))]

    def neighbours_agree(train, test):
        return module.evaluations(train, {"test": test})["knn"]["test"]

    before = neighbours_agree(*embedded())
    optimizer = torch.optim.Adam(module.param_groups(), lr=0.003)
    losses = []
    for step in range(50):
        (view_a, _), (view_b, _) = (toy_images(32, 2 * step + it) for it in (10, 11))
        loss = module({"view_a": view_a, "view_b": view_b}).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        module.after_step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    train, (embeddings, labels) = embedded()
    assert before < 0.4
    assert neighbours_agree(train, (embeddings, labels)) > 0.7
    probe = module.classifier(lambda view: train)
    assert (probe(embeddings).argmax(1) == labels).float().mean() > 0.7


def test_vicregs_loss_is_the_weighted_sum_of_its_terms():
    weights = {"invariance": 3.0, "variance": 5.0, "covariance": 7.0}
    words = [f"method.{name}={weight}" for name, weight in weights.items()]
    module, batch = build("method=vicreg", SMALL, "method.projector=[16]", *words)
    loss, metrics = module(batch)
    expected = sum(weight * metrics[f"loss_{name}"] for name, weight in weights.items())
    assert_close(loss.detach(), expected)


def test_byols_target_follows_the_weights_without_gradients():
    words = ("method=byol", SMALL, "method.projector=[16,8]", "method.predictor=[8]")
    module, batch = build(*words, "method.target_decay=0.9")
    optimizer = torch.optim.SGD(module.param_groups(), lr=0.1)
    before = [weights.detach().clone() for weights in module.target.parameters()]
    module(batch).loss.backward()
    optimizer.step()
    module.after_step()
    learning = [*module.encoder.parameters(), *module.projector.parameters()]
    for mine, old, new in zip(module.target.parameters(), before, learning, strict=True):
        assert_close(mine, 0.9 * old + 0.1 * new.detach())
        assert mine.grad is None
    assert not torch.equal(before[0], learning[0])
    assert module.evaluated_encoder is module.encoder
    other, _ = build(*words, "method.target_decay=0.9", "seed=1")
    other.load_state_dict(module.state_dict())  # as from a checkpoint
    assert torch.equal(other(batch).loss, module(batch).loss)


def test_mixed_barlow_twins_is_barlow_twins_where_nothing_is_mixed():
    words = (SMALL, "method.projector=[16,8]", "method.lambd=0.01")
    plain, batch = build("method=barlow", *words)
    mixed, _ = build("method=mixed_barlow", *words)
    expected = plain(batch).loss
    for share in (0, 1):
        mixed.share.fill_(share)
        assert_close(mixed(batch).loss, expected)
    mixed.share.fill_(0.5)
    loss, metrics = mixed(batch)
    assert metrics["loss_mixing"] > 0.1
    assert_close(loss, expected + 0.01 * 2 * metrics["loss_mixing"])


def test_shares_of_mixed_images_are_spread_evenly():
    module, _ = build("method=mixed_barlow", SMALL, "method.projector=[8]")
    shares = []
    for _ in range(100):
        shares.append(module.share.item())
        module.after_step()
    gaps = torch.tensor([0, *sorted(shares), 1]).diff()
    assert gaps.min() >= 0
    assert gaps.max() < 0.03
