import pytest
import torch
from cells import compose_settings
from torch.testing import assert_close

from sslbench.build import build_method, build_optimizer
from sslbench.cell import checkpoint
from sslbench.engine.device import autocast

CPU = torch.device("cpu")
METHODS = ("supervised", "barlow", "semi")
MODELS = ("convnet", "resnet18", "wrn45_2")


def images(n, seed=0):
    return torch.randn(n, 3, 96, 96, generator=torch.Generator().manual_seed(seed))


def batch_for(method, n=4):
    labels = torch.arange(n) % 10
    return {
        "supervised": {"view": images(n), "labels": labels},
        "barlow": {"view_a": images(n), "view_b": images(n, 1)},
        "semi": {
            "labeled": images(n),
            "labels": labels,
            "weak": images(2 * n, 1),
            "strong": images(2 * n, 2),
        },
    }[method]


def build(*overrides):
    return build_method(compose_settings("data=digits", *overrides), 10, CPU).train()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract_with_every_model(method, model, precision):
    module = build(f"method={method}", f"model={model}")
    with autocast(precision, CPU)():
        step = module(batch_for(method))
    assert step.loss.shape == ()
    assert step.loss.dtype == torch.float32
    assert torch.isfinite(step.loss)
    assert all(not value.requires_grad for value in step.metrics.values())
    step.loss.backward()
    without = [
        name
        for name, p in module.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]
    assert without == []


@pytest.mark.parametrize("method", METHODS)
def test_a_few_steps_lower_the_loss(method):
    settings = compose_settings("data=digits", f"method={method}", "model.channels=16")
    module = build_method(settings, 10, CPU).train()
    optimizer, batch = build_optimizer(settings.optimizer, module, CPU), batch_for(method, 8)
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
    torch.manual_seed(1)
    first = checkpoint.digest(build(f"method={method}", "seed=3"))
    torch.manual_seed(2)
    torch.rand(5)
    assert checkpoint.digest(build(f"method={method}", "seed=3")) == first
    assert checkpoint.digest(build(f"method={method}", "seed=4")) != first


def test_building_a_method_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build("method=semi")
    assert_close(torch.rand(3), expected)


class TestSemi:
    def step(self, *overrides, batch=None):
        module = build("method=semi", "model.channels=8", *overrides)
        return module, module(batch or batch_for("semi"))

    def test_loss_is_the_sum_of_its_two_parts(self):
        _, (loss, metrics) = self.step("method.unlabeled_weight=0.3")
        expected = metrics["loss_labeled"] + 0.3 * metrics["loss_unlabeled"]
        assert_close(loss.detach(), expected)

    def test_without_unlabelled_weight_it_is_supervised_learning(self):
        batch = batch_for("semi")
        _, step = self.step("method.unlabeled_weight=0", batch=batch)
        supervised = build("method=supervised", "model.channels=8")
        expected = supervised({"view": batch["labeled"], "labels": batch["labels"]})
        assert_close(step.loss, expected.loss)

    def test_no_threshold_keeps_all_and_an_impossible_one_keeps_none(self):
        assert self.step()[1].metrics["kept"] == 1
        loss, metrics = self.step("method.threshold=1.0")[1]
        assert metrics["kept"] == 0
        assert_close(loss.detach(), metrics["loss_labeled"])

    def test_the_unlabelled_loss_is_the_formula(self):
        batch = batch_for("semi")
        module = build("method=semi", "model.channels=8")
        with torch.no_grad():
            weak = module.logits(batch["weak"]).softmax(1)
            strong = module.logits(batch["strong"]).log_softmax(1)
        confidence, labels = weak.max(1)
        module.config.threshold = confidence.median().item()
        kept = confidence >= module.config.threshold
        assert 0 < kept.sum() < len(kept), "the threshold must separate"
        expected = -(strong[torch.arange(len(labels)), labels] * kept).sum() / len(labels)
        assert_close(module(batch).metrics["loss_unlabeled"], expected)

    def test_no_gradient_flows_through_the_weak_view(self):
        for weak_pass in ("separate", "joint"):
            batch = batch_for("semi")
            batch["weak"].requires_grad_()
            batch["strong"].requires_grad_()
            _, step = self.step(f"method.weak_pass={weak_pass}", batch=batch)
            step.loss.backward()
            assert batch["weak"].grad is None or not batch["weak"].grad.any()
            assert batch["strong"].grad.any()

    def test_both_passes_agree_without_batch_norm(self):
        separate = self.step("method.weak_pass=separate")[1]
        joint = self.step("method.weak_pass=joint")[1]
        assert_close(separate.loss, joint.loss)

    def test_soft_labels_differ_from_hard_ones(self):
        hard, soft = self.step()[1], self.step("method.pseudo_labels=soft")[1]
        assert soft.metrics["loss_unlabeled"] > 0
        assert hard.loss != soft.loss

    def test_class_balance_of_pseudo_labels(self):
        metrics = self.step()[1].metrics
        assert 0.1 <= metrics["pseudo_label_max_share"] <= 1
        assert 0 <= metrics["pseudo_label_entropy"] <= torch.tensor(10.0).log() + 1e-6

    def test_average_follows_the_weights(self):
        settings = compose_settings(
            "data=digits", "method=semi", "model.channels=8", "method.ema=0.9"
        )
        module = build_method(settings, 10, CPU).train()
        optimizer = build_optimizer(settings.optimizer, module, CPU)
        before = module.head.weight.detach().clone()
        module(batch_for("semi")).loss.backward()
        optimizer.step()
        after = module.head.weight.detach()
        assert_close(module.average["head"].weight, before + 0.1 * (after - before))
        assert module.evaluated_encoder is module.average["encoder"]

    def test_average_is_not_trained(self):
        module = build("method=semi", "method.ema=0.9")
        module(batch_for("semi")).loss.backward()
        assert all(p.grad is None for p in module.average.parameters())


def test_barlow_twins_projector_is_a_setting():
    module = build("method=barlow", "model.channels=8", "method.projector=[16,24]")
    embeddings = torch.randn(4, module.encoder.embedding_dim)
    assert module.projector(embeddings).shape == (4, 24)
    plain = build("method=barlow", "model.channels=8")
    assert_close(plain.projector(embeddings), embeddings)
