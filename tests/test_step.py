"""One training step: captured or not it learns the same, and nothing in it waits for the device."""

import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.cells import CPU, SMALL, choices, compose

from sslbench.build import build, build_feed, build_method, build_views, sizes_of
from sslbench.cell import checkpoint
from sslbench.data import open_dataset
from sslbench.data.feed import map_tensors
from sslbench.engine.device import choose_device
from sslbench.engine.step import CapturedStep, EagerStep, StaticDraw

METHODS, META = choices("method"), torch.device("meta")


@pytest.mark.parametrize("method", METHODS)
def test_a_captured_step_learns_what_an_eager_one_learns(method, outputs):
    found, recorded = [], []

    def record(function):
        """Stand in for a CUDA graph: what is recorded runs only when it is replayed."""
        recorded.append(function)
        return function

    more = ["method.ema=0.9"] if method == "semi" else []
    for captured in (False, True):
        training = build(compose(f"method={method}", SMALL, f"outputs={outputs}", *more))
        step = training.take_step
        if captured:
            step = CapturedStep(step, training.optimizer, CPU, record)
        losses = [step(training.feed.draw(i), 0.01 / (i + 1))["loss"].item() for i in range(6)]
        found.append((checkpoint.digest(training.method), losses))
    assert found[0] == found[1]
    assert len(recorded) == 1


def test_a_static_draw_keeps_its_addresses_and_takes_each_value(outputs):
    feed = build(compose("method=semi", SMALL, f"outputs={outputs}")).feed
    static, addresses = StaticDraw(feed.draw(0), CPU), []
    map_tensors(lambda kept: addresses.append(kept.data_ptr()), static.draw)
    assert len(addresses) > 20
    assert all(address % StaticDraw.ALIGNMENT == 0 for address in addresses)
    for step in range(3):
        draw, found, same = feed.draw(step), [], []
        static.fill(draw)
        map_tensors(lambda *of, same=same: same.append(torch.equal(*of)), static.draw, draw)
        map_tensors(lambda kept, found=found: found.append(kept.data_ptr()), static.draw)
        assert all(same)
        assert found == addresses


class StoreWithoutValues:
    """Images on the meta device, which have a shape alone: whatever asks for a value raises."""

    side, resident = 96, True

    def take(self, indices):
        assert indices.is_meta, "indices come with the draw, on the device"
        return torch.empty(len(indices), 3, 96, 96, dtype=torch.uint8, device=META)


CASES = [
    (f"method={method}", f"model={model}", more)
    for method in METHODS
    for model in choices("model")
    for more in (["method.ema=0.9", "method.weak_pass=joint"] if method == "semi" else ["seed=0"])
]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_nothing_in_a_step_waits_for_the_device(overrides, waits, outputs, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    settings, store = compose(*overrides), StoreWithoutValues()
    dataset = open_dataset(settings.data, outputs)
    images = SimpleNamespace(train=SimpleNamespace(store=store), unlabeled=store)
    feed = build_feed(settings, dataset, build_views(settings, dataset, META)[0], images, META)
    module = build_method(settings, sizes_of(dataset), META).train()
    if waits:  # the check can fail
        module.encoder.register_forward_hook(lambda *of: of[-1] * of[-1].max().item())
    optimizer = torch.optim.Adam(module.param_groups(), foreach=True)
    step, draw = EagerStep(module, optimizer, feed, nullcontext, 1.0), feed.to_device(feed.draw(0))
    with pytest.raises(RuntimeError, match="meta") if waits else nullcontext():
        metrics = step.compute(draw)
        assert metrics["loss"].is_meta
        assert all(value.is_meta for value in metrics.values())


def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    code = "import torch; from sslbench.engine.device import peak_memory_bytes as peak; "
    code += "print(peak(torch.device('cpu')))"
    alone = int(subprocess.check_output([sys.executable, "-c", code]))
    held = np.ones(3 * alone // 4, np.uint16)  # 1.5 times what that process had
    assert int(subprocess.check_output([sys.executable, "-c", code])) < 1.2 * alone
    del held


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ValueError, match=f"device={device}: "):
        choose_device(device)
