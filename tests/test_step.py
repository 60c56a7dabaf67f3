"""One training step: captured or not it learns the same, and nothing in it waits for the device."""

from contextlib import nullcontext
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from helpers.cells import CPU, SMALL, choices, compose, small_batches
from torch.testing import assert_close

from sslbench.build import build, build_feed, build_method, build_views, sizes_of
from sslbench.cell import checkpoint
from sslbench.data import open_dataset
from sslbench.data.feed import map_tensors
from sslbench.engine.device import choose_device
from sslbench.engine.means import WINDOW, Tally
from sslbench.engine.step import CapturedStep, EagerStep, StaticDraw, set_learning_rate

METHODS, META = choices("method"), torch.device("meta")


@pytest.mark.parametrize(
    "method", ["supervised", "barlow", "byol", "mixed_barlow", "semi", "flexmatch"]
)
def test_a_captured_step_learns_what_an_eager_one_learns(method, outputs):
    found, recorded = [], []

    def record(function):
        """Stand in for a CUDA graph: what is recorded runs only when it is replayed."""
        recorded.append(function)
        return function

    more = ["optimizer.warmup=0.5", "method.ema=0.9", *small_batches(method)]
    for captured in (False, True):
        training = build(compose(f"method={method}", SMALL, f"outputs={outputs}", *more))
        step = training.take_step
        if captured:
            step = CapturedStep(step, CPU, record)
        last = training.feed.block_steps
        steps = [*range(last - 3, last + 3), 5, 6]  # from one block to the next, and back
        losses = [step(number)["loss"].item() for number in steps]
        means, count = training.tally.take(WINDOW)
        assert count == len(steps)
        assert means["loss"] == pytest.approx(sum(losses) / count, rel=1e-12)
        found.append((checkpoint.digest(training.method), losses, means))
    assert found[0] == found[1]
    assert len(recorded) == 1


def test_a_static_draw_takes_each_step_of_a_block_and_keeps_its_addresses(outputs):
    feed = build(compose("method=semi", SMALL, f"outputs={outputs}")).feed
    static = StaticDraw(feed.draw_block(0), CPU)
    addresses = map_tensors(torch.Tensor.data_ptr, static.draw)
    for number, first in ((0, 0), (3, 0), (1, 7)):
        static.fill(feed.draw_block(number), first)
        for row in range(first, min(first + 3, feed.block_steps)):
            expected = feed.draw(number * feed.block_steps + row)
            assert_close(static.advance(), expected, rtol=0, atol=0)
            assert map_tensors(torch.Tensor.data_ptr, static.draw) == addresses


class StoreWithoutValues:
    """Images on the meta device, which have a shape alone: whatever asks for a value raises."""

    side, resident = 96, True

    def take(self, indices):
        assert indices.is_meta, "indices come with the draw, on the device"
        return torch.empty(len(indices), 3, 96, 96, dtype=torch.uint8, device=META)


STORE = StoreWithoutValues()
CASES = [(f"method={method}", "method.ema=0.9") for method in METHODS]
# The first is above, the second has the class of wrn45_2.
MODELS = [model for model in choices("model") if model not in ("convnet", "wrn37_2")]
CASES += [("method=semi", f"model={model}") for model in MODELS]
VIT = ("model=timm", "model.name=test_vit", "model.drop_path=0.1", "model.dropout=0.1")
CASES += [("method=semi", *VIT)] if find_spec("timm") else []


def feed_without_values(settings, dataset):
    images = SimpleNamespace(stores={"train": STORE, "unlabeled": STORE})
    return build_feed(settings, dataset, build_views(settings, dataset, META)[0], images, META)


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
def test_nothing_in_a_step_waits_for_the_device(overrides, outputs, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    settings = compose(*overrides)
    dataset = open_dataset(settings.data, outputs)
    feed = feed_without_values(settings, dataset)
    module = build_method(settings, sizes_of(settings, dataset), META).train()
    optimizer = torch.optim.Adam(module.param_groups(), foreach=True)
    step = EagerStep(module, optimizer, feed, nullcontext, 1.0, float, Tally(META))
    block = {**feed.draw_block(0), "rate": torch.zeros(feed.block_steps, dtype=torch.float64)}
    static = StaticDraw(block, META)
    static.fill(block, 0)
    draw = static.advance()
    set_learning_rate(
        SimpleNamespace(param_groups=[{"lr": torch.ones((), device=META)}]), draw["rate"]
    )
    assert all(value.is_meta for value in step.compute(draw).values())


def test_a_batch_is_one_graph_to_the_compiler(outputs):
    settings = compose("method=semi")  # of labelled images and of others, in both views
    feed = feed_without_values(settings, open_dataset(settings.data, outputs))
    draw = feed.to_device(feed.draw(0))
    found = torch.compile(feed.assemble, backend="eager", fullgraph=True)(draw)
    assert {name: it.shape for name, it in found.items()} == {
        name: it.shape for name, it in feed.assemble(draw).items()
    }


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(ValueError, match=f"device={device}: "):
        choose_device(device)
