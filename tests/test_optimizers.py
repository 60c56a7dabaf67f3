"""Optimizers that leave torch's compiler out are torch's in all else."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from torch import nn

from sslbench.cell.checkpoint import load_optimizer
from sslbench.optimizers import OPTIMIZERS, without_compiler

SETTINGS = {
    "adam": {"lr": 0.1, "betas": (0.8, 0.9)},
    "adamw": {"lr": 0.1, "weight_decay": 0.1},
    "sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
}


def train(kind, steps=3, state=None, **settings):
    """Train a line from the same start; return its parameters and the optimizer."""
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3), torch.randn(8, 4)
    optimizer = kind(model.parameters(), fused=True, **settings)
    if state is not None:
        optimizer.load_state_dict(deepcopy(state))
    for _ in range(steps):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return list(model.parameters()), optimizer


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_and_states_are_those_of_torch(name):
    parameters, optimizer = train(without_compiler(OPTIMIZERS[name]), **SETTINGS[name])
    expected, theirs = train(OPTIMIZERS[name], **SETTINGS[name])
    assert all(torch.equal(a, b) for a, b in zip(parameters, expected, strict=True))
    state = optimizer.state_dict()
    torch.testing.assert_close(state, theirs.state_dict(), rtol=0, atol=0)
    parameters, _ = train(without_compiler(OPTIMIZERS[name]), state=state, **SETTINGS[name])
    expected, _ = train(OPTIMIZERS[name], state=state, **SETTINGS[name])
    assert all(torch.equal(a, b) for a, b in zip(parameters, expected, strict=True))


def test_a_checkpoint_of_another_device_keeps_this_ones_options():
    _, there = train(OPTIMIZERS["adam"], **SETTINGS["adam"])
    line = nn.Linear(4, 3)
    rate = torch.tensor(0.2)
    here = OPTIMIZERS["adam"](line.parameters(), lr=rate, fused=False, capturable=True)
    load_optimizer(here, there.state_dict())
    [group] = here.param_groups
    assert (group["capturable"], group["fused"]) == (True, False)
    assert group["lr"] is rate
    first, second = (o.state[o.param_groups[0]["params"][0]]["exp_avg"] for o in (here, there))
    assert torch.equal(first, second)


def test_hooks_run_and_gradients_are_not_recorded():
    parameters, optimizer = train(without_compiler(OPTIMIZERS["adam"]), lr=0.1)
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(True))
    parameters[0].sum().backward()
    optimizer.step()
    assert called == [True]
    assert not any(value.requires_grad for value in optimizer.state[parameters[0]].values())


@pytest.mark.parametrize("method", ["supervised", "barlow", "semi"])
def test_training_does_not_import_the_compiler(method, tmp_path):
    words = [f"method={method}", "model=resnet18", "method.batch_size=4", "steps=1"]
    words += ["data=digits", "tracking=off", "precision=bf16", f"outputs={tmp_path}"]
    code = (
        "import sys; from sslbench.train import main; status = main()\n"
        "print(status, 'torch._dynamo' in sys.modules, 'torchvision' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "None False False", run.stdout + run.stderr
