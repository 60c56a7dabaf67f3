"""Durations, learning rates, and the optimizers that follow them."""

import math

import pytest
import torch
from helpers.cells import CPU, choices, compose
from torch import nn, optim
from torch.testing import assert_close

from sslbench.cell.checkpoint import load_optimizer
from sslbench.engine.rates import learning_rate
from sslbench.engine.schedule import build_schedule
from sslbench.methods.barlow_twins import BarlowTwins
from sslbench.methods.semi import Semi
from sslbench.methods.supervised import Supervised


def steps_where(schedule, answer):
    return [step for step in range(1, schedule.total_steps + 1) if answer(step)]


def test_epochs_become_the_papers_steps():
    assert build_schedule(Supervised(), 5000).total_steps == 4000
    semi, barlow = build_schedule(Semi(), 5000), build_schedule(BarlowTwins(), 100_000)
    assert semi.total_steps == 15_625
    assert steps_where(semi, semi.keeps_snapshot_after) == []
    assert steps_where(barlow, barlow.keeps_snapshot_after) == [50, 500, 1000, 2000, 4000]


@pytest.mark.parametrize(
    ("settings", "num_images", "steps", "expected"),
    [
        (Supervised(epochs=2.5), 1000, None, [8, 16, 20]),
        (Supervised(eval_every=2.0), 1000, 20, [16, 20]),
        (Supervised(batch_size=32), 500, 50, [16, 31, 47, 50]),  # 15.6 steps per epoch
        (Supervised(eval_every=0.01), 1000, 4, [1, 2, 3, 4]),
        (Supervised(eval_every=5e-324), 1000, 2, [1, 2]),
        (Supervised(eval_every=1e9), 1000, 3, [3]),
    ],
)
def test_each_interval_and_the_last_step_are_evaluated(settings, num_images, steps, expected):
    schedule = build_schedule(settings, num_images, steps)
    assert steps_where(schedule, schedule.evaluates_after) == expected


def test_the_longest_schedule_takes_no_longer_to_ask_and_a_longer_one_is_refused():
    schedule = build_schedule(Supervised(eval_every=1e-9), 5000, 10**9)
    assert all(map(schedule.evaluates_after, (1, 10**9 - 1, 10**9)))
    with pytest.raises(ValueError, match="method.epochs=1000000000.0: 4e.10 steps of 125 images"):
        build_schedule(Supervised(epochs=1e9), 5000)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_warms_up_and_then_keeps_or_follows_a_cosine(schedule):
    words = ("optimizer.lr=0.4", "optimizer.warmup=0.2", f"optimizer.schedule={schedule}")
    optimizer = compose(*words).optimizer
    rates = [learning_rate(optimizer, step, total_steps=20) for step in range(20)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    cosine = [0.2 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert rates[4:] == pytest.approx([0.4] * 16 if schedule == "constant" else cosine)


def train(build, *durations):
    """Train a line from the same start; each duration has a new optimizer with the old state."""
    torch.manual_seed(0)
    model, x, state = nn.Linear(4, 3), torch.randn(8, 4), None
    for steps in durations:
        optimizer = build([{"params": list(model.parameters())}])
        if state is not None:
            load_optimizer(optimizer, state)
        for _ in range(steps):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        state = optimizer.state_dict()
    return list(model.parameters()), optimizer


@pytest.mark.parametrize("name", choices("optimizer"))
def test_every_optimizer_learns_and_goes_on_from_its_state(name):
    settings = compose(f"optimizer={name}").optimizer
    resumed, straight, start = (
        train(lambda groups: settings.build(groups, CPU), *durations)[0]
        for durations in ((4, 2), (6,), (0,))
    )
    assert all(torch.equal(a, b) for a, b in zip(resumed, straight, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(start, straight, strict=True))


@pytest.mark.parametrize(
    ("name", "override", "kind", "options"),
    [
        ("adam", "optimizer.betas=[0.8,0.9]", optim.Adam, {"betas": (0.8, 0.9)}),
        ("adamw", "seed=0", optim.AdamW, {}),
        ("sgd", "optimizer.momentum=0.8", optim.SGD, {"momentum": 0.8, "nesterov": True}),
        ("sgd", "optimizer.momentum=0", optim.SGD, {}),
    ],
)
def test_its_steps_and_state_are_torchs(name, override, kind, options):
    words = (f"optimizer={name}", override, "optimizer.lr=0.1", "optimizer.weight_decay=0.02")
    settings = compose(*words).optimizer
    parameters, ours = train(lambda groups: settings.build(groups, CPU), 3)
    expected, theirs = train(lambda groups: kind(groups, lr=0.1, weight_decay=0.02, **options), 3)
    assert_close(parameters, expected)
    assert_close(ours.state_dict()["state"], theirs.state_dict()["state"])


def test_a_checkpoint_of_another_device_keeps_this_ones_options():
    _, there = train(lambda groups: optim.Adam(groups, lr=0.1, fused=True), 3)
    rate = torch.tensor(0.2)
    here = optim.Adam(nn.Linear(4, 3).parameters(), lr=rate, capturable=True)
    load_optimizer(here, there.state_dict())
    [group] = here.param_groups
    assert (group["capturable"], group["fused"]) == (True, None)
    assert group["lr"] is rate
    first, second = (o.state[o.param_groups[0]["params"][0]]["exp_avg"] for o in (here, there))
    assert torch.equal(first, second)
