"""LARS, Muon, weights that do not decay, and FixMatch's schedule, against what defines them."""

import math

import pytest
import torch
from helpers.cells import CPU, SMALL, compose
from torch import nn, optim
from torch.testing import assert_close

from sslbench.build import build
from sslbench.cell.checkpoint import load_optimizer
from sslbench.engine.rates import learning_rate
from sslbench.engine.step import CapturedStep
from sslbench.machine import hardware
from sslbench.optimizers.decay import spare_norms_and_biases


def layers():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
    return nn.Sequential(*first, nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(24, 4))


def steps(model, optimizer, number=4, look=lambda step: None):
    torch.manual_seed(1)
    for step in range(number):
        loss = model(torch.randn(5, 3, 6, 6)).square().mean()
        loss.backward()
        look(step)
        optimizer.step()
        optimizer.zero_grad()


def built(name, model, *overrides):
    settings = compose(f"optimizer={name}", "optimizer.lr=0.02", *overrides).optimizer
    return settings.build([{"params": list(model.parameters())}], CPU)


def test_lars_is_its_formula():
    model, decay = layers(), 0.1
    exact = [weights.detach().double() for weights in model.parameters()]
    velocity = [torch.zeros_like(weights) for weights in exact]

    def follow(step):
        for weights, v, own in zip(exact, velocity, model.parameters(), strict=True):
            d = own.grad.double() + decay * weights
            trust = 0.001 * weights.norm() / d.norm() if weights.ndim > 1 else 1
            v.mul_(0.9).add_(trust * d)
            weights.sub_(0.02 * v)

    steps(model, built("lars", model, f"optimizer.weight_decay={decay}"), look=follow)
    assert_close(list(model.parameters()), [weights.float() for weights in exact])


def test_lars_takes_plain_steps_where_weights_or_gradients_are_zero():
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    optimizer = built("lars", model)
    model.weight.grad = torch.ones(2, 2)
    model.bias.grad = torch.zeros(2)
    optimizer.step()
    assert_close(model.weight.detach(), torch.full((2, 2), -0.02))


def test_muon_moves_hidden_matrices_as_torchs_and_the_others_as_adamw(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    ours, theirs = layers(), layers()
    optimizer = built("muon", ours, "optimizer.weight_decay=0.05")
    hidden = theirs[2].weight
    matrix = nn.Parameter(hidden.detach().flatten(1).clone())
    options = {"lr": 0.02, "weight_decay": 0.05}
    muon = optim.Muon([matrix], adjust_lr_fn="match_rms_adamw", **options)
    adamw = optim.AdamW([it for it in theirs.parameters() if it is not hidden], **options)

    def follow(step):
        matrix.grad = hidden.grad.flatten(1).clone()
        hidden.grad = None
        muon.step()

    for _ in range(3):  # in turns, so that both have the same gradients
        steps(ours, optimizer, 1)
        steps(theirs, adamw, 1, look=follow)
        with torch.no_grad():
            hidden.copy_(matrix.view_as(hidden))
    # torch's iteration is in bf16: a rounding error in a gradient becomes one of 0.4 % of a step.
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine, other, rtol=0, atol=1e-3)


def test_muon_leaves_a_transformers_token_and_the_kernel_that_sees_pixels_to_adamw():
    model = layers()
    model.token = nn.Parameter(torch.zeros(1, 1, 8))  # a module's own parameters come first
    groups = built("muon", model).param_groups
    (moved,) = (weights for group in groups if group["muon"] for weights in group["params"])
    assert moved is model[2].weight


@pytest.mark.parametrize("has_bf16", [True, False])
@pytest.mark.parametrize("shape", [(8, 100), (100, 8)])
def test_a_step_of_muon_has_about_the_length_of_adamws_in_all_directions(
    shape, has_bf16, monkeypatch
):
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: has_bf16)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(shape[1], shape[0]), nn.Linear(2, 2))
    before = model[1].weight.detach().clone()
    optimizer = built("muon", model, "optimizer.weight_decay=0")
    torch.manual_seed(0)
    model[1].weight.grad = torch.randn(shape) * torch.logspace(0, 2, shape[1])
    optimizer.step()
    singular = torch.linalg.svdvals((before - model[1].weight.detach()) / 0.02)
    assert 0.5 < singular.min() / (0.2 * 10) < singular.max() / (0.2 * 10) < 1.3


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon", "lars"])
def test_norms_and_biases_decay_or_do_not(name):
    for spared in (True, False):
        model = layers()
        nn.init.ones_(model[2].bias)
        groups = [{"params": list(model.parameters())}]
        groups = spare_norms_and_biases(groups) if spared else groups
        settings = compose(f"optimizer={name}", "optimizer.lr=0.1", "optimizer.weight_decay=0.5")
        optimizer = settings.optimizer.build(groups, CPU)
        before = [weights.detach().clone() for weights in model.parameters()]
        for weights in model.parameters():
            weights.grad = torch.zeros_like(weights)
        optimizer.step()
        for old, new in zip(before, model.parameters(), strict=True):
            decayed = not torch.equal(old, new) or not old.any()
            assert decayed == (old.ndim > 1 or not spared or not old.any())


@pytest.mark.parametrize("name", ["muon", "lars"])
def test_a_captured_and_resumed_cell_learns_what_an_eager_one_does(name, outputs, tmp_path):
    typed = (f"optimizer={name}", "optimizer.decay_norms_and_biases=false", SMALL, "steps=8")
    typed += (f"outputs={outputs}", "optimizer.schedule=fixmatch", "optimizer.warmup=0.3")
    typed += ("optimizer.weight_decay=0.1", "precision=fp32")
    found = []
    for resumes in (False, True):
        training = build(compose(*typed))
        for step in range(4):
            training.take_step(step)
        if resumes:
            state = training.method.state_dict(), training.optimizer.state_dict()
            training = build(compose(*typed))
            training.method.load_state_dict(state[0])
            load_optimizer(training.optimizer, state[1])
        step_of = training.take_step
        if resumes:
            step_of = CapturedStep(step_of, CPU, lambda function: function)
        for step in range(4, 8):
            step_of(step)
        found.append(training.method.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_fixmatchs_schedule_is_seven_sixteenths_of_a_cosine_after_the_warm_up():
    words = ("optimizer.lr=0.4", "optimizer.warmup=0.2", "optimizer.schedule=fixmatch")
    optimizer = compose(*words).optimizer
    rates = [learning_rate(optimizer, step, total_steps=20) for step in range(20)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[4:] == pytest.approx(
        [0.4 * math.cos(7 * math.pi * step / (16 * 16)) for step in range(16)]
    )
