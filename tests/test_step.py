"""The captured step, as far as a CPU can show it."""

from contextlib import nullcontext

import pytest
import torch
from cells import TINY, compose_settings

from sslbench.build import build_parts
from sslbench.cell import checkpoint
from sslbench.data.feed import Feed
from sslbench.engine.step import CapturedStep, EagerStep, StaticDraw

METHODS = ("supervised", "barlow", "semi")
CPU = torch.device("cpu")


def record_on_cpu(function):
    """Stand in for a CUDA graph: what is recorded runs only when it is replayed."""
    return function


@pytest.mark.parametrize("method", METHODS)
def test_a_captured_step_learns_what_an_eager_one_learns(method, tmp_path):
    digests = []
    for captured in (False, True):
        settings = compose_settings(*TINY, f"method={method}", f"outputs={tmp_path}")
        parts = build_parts(settings)
        step = parts.take_step
        if captured:
            step = CapturedStep(step, parts.optimizer, CPU, record_on_cpu)
        losses = [step(parts.feed.draw(i), 0.01 / (i + 1))["loss"].item() for i in range(6)]
        digests.append((checkpoint.digest(parts.method), losses))
    assert digests[0] == digests[1]


def test_a_static_draw_keeps_its_addresses_and_takes_each_value(tmp_path):
    parts = build_parts(compose_settings(*TINY, "method=semi", f"outputs={tmp_path}"))
    static = StaticDraw(parts.feed.draw(0), CPU)
    addresses = {name: value.data_ptr() for name, value in static.draw.items()}
    for step in range(3):
        draw = parts.feed.draw(step)
        static.fill(draw)
        assert all(torch.equal(static.draw[name], draw[name]) for name in draw)
        assert {name: value.data_ptr() for name, value in static.draw.items()} == addresses
    assert all(address % StaticDraw.ALIGNMENT == 0 for address in addresses.values())


@pytest.mark.parametrize("model", ["convnet", "resnet18", "wrn45_2"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_a_step_waits_for_the_device(method, model, tmp_path, monkeypatch):
    """On meta tensors, which have no values: whatever asks for one raises."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    settings = compose_settings(
        "data=digits",
        f"model={model}",
        f"method={method}",
        f"outputs={tmp_path}",
        *(["method.ema=0.9", "method.threshold=0.5"] if method == "semi" else []),
    )
    parts = build_parts(settings)
    meta = torch.device("meta")
    module = parts.method.to(meta).train()
    for source in parts.feed.sources:
        source.store.resident = True
        source.store._on_device = torch.empty(
            (len(source.store), 3, 96, 96), dtype=torch.uint8, device=meta
        )
        for view in source._views.values():
            view.mean, view.std = (torch.empty(3, device=meta) for _ in range(2))
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], foreach=True)
    step = EagerStep(module, optimizer, Feed(parts.feed.sources, meta), nullcontext, 1.0)
    metrics = step.compute({name: value.to(meta) for name, value in parts.feed.draw(0).items()})
    assert all(value.device == meta for value in metrics.values())
    with pytest.raises(RuntimeError, match="meta"):
        metrics["loss"].item()  # the check can fail
