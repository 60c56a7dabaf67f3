"""One training step: captured or not it learns the same, and nothing in it waits for the device."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from helpers.cells import CPU, SMALL, choices, compose
from torch.testing import assert_close

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
            step = CapturedStep(step, CPU, record)
        losses = [step(training.feed.draw(i), 0.01 / (i + 1))["loss"].item() for i in range(6)]
        found.append((checkpoint.digest(training.method), losses))
    assert found[0] == found[1]
    assert len(recorded) == 1


def test_a_static_draw_takes_each_value_and_keeps_its_addresses(outputs):
    feed = build(compose("method=semi", SMALL, f"outputs={outputs}")).feed
    static = StaticDraw(feed.draw(0), CPU)
    addresses = map_tensors(torch.Tensor.data_ptr, static.draw)
    for step in range(3):
        draw = feed.draw(step)
        static.fill(draw)
        assert_close(static.draw, draw, rtol=0, atol=0)
        assert map_tensors(torch.Tensor.data_ptr, static.draw) == addresses


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


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_nothing_in_a_step_waits_for_the_device(overrides, outputs, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    settings, store = compose(*overrides), StoreWithoutValues()
    dataset = open_dataset(settings.data, outputs)
    images = SimpleNamespace(train=SimpleNamespace(store=store), unlabeled=store)
    feed = build_feed(settings, dataset, build_views(settings, dataset, META)[0], images, META)
    module = build_method(settings, sizes_of(dataset), META).train()
    optimizer = torch.optim.Adam(module.param_groups(), foreach=True)
    step, draw = EagerStep(module, optimizer, feed, nullcontext, 1.0), feed.to_device(feed.draw(0))
    assert all(value.is_meta for value in step.compute(draw).values())


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ValueError, match=f"device={device}: "):
        choose_device(device)
