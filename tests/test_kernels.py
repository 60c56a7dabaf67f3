"""`compile`: which kernels a cell is begun with, and that it keeps them."""

import copy
import os
import signal

import pytest
import torch
from helpers.cells import (
    CPU,
    SMALL,
    choices,
    compose,
    make_cell,
    noise_batch,
    random_bytes,
    small_batches,
    train,
)
from torch.testing import assert_close

from sslbench.build import build_method, sizes_of
from sslbench.cell import checkpoint
from sslbench.data import open_dataset
from sslbench.data.device import ImageStore
from sslbench.sweep.training import train_cell

WORDS = (SMALL, "steps=6")


def test_where_compiling_fails_a_cell_is_trained_without(outputs, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("no compiler here\nand much more")

    def compile_broken(function, **_):
        return broken

    monkeypatch.setattr(torch, "compile", compile_broken)
    expected = train(outputs, *WORDS, "seed=12").folder.record().results  # on a CPU, not compiled
    assert not caplog.text.count("compiled")
    record = train(outputs / "other", *WORDS, "seed=12", "compile=on").folder.record()
    assert "the step cannot be compiled (RuntimeError: no compiler here); it goes on" in caplog.text
    assert (record.status, record.runtime["kernels"]) == ("done", "plain")
    assert record.results["weights_sha256"] == expected["weights_sha256"]


def test_a_stopped_cell_goes_on_with_the_kernels_that_it_was_begun_with(outputs, monkeypatch):
    stop_at, taken = 4, 0

    def compile_nothing(method, **_):
        def forward(batch):
            nonlocal taken
            taken += 1
            if taken == 1 + stop_at:  # the first is the compiler's
                os.kill(os.getpid(), signal.SIGTERM)
            return method(batch)

        return forward

    def go_on(*overrides):
        cell = make_cell(outputs, *WORDS, "seed=13", *overrides)
        with cell.folder.locked():
            return train_cell(cell)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    assert go_on("compile=on").status == "interrupted"
    refused = go_on("compile=off")
    assert (
        "step 4, and would not go on to the same bits: kernels was compiled, is plain;"
        in (refused.error["message"])
    )
    record = go_on("compile=auto")
    assert (record.status, record.runtime["kernels"], taken) == ("done", "compiled", 2 + 6)
    assert (outputs / "cache" / "kernels").stat().st_mode & 0o777 == 0o700


WITHOUT_LABELS = ["barlow", "byol", "mixed_barlow", "simclr", "vicreg"]


@pytest.mark.parametrize("method", ["supervised", *WITHOUT_LABELS, "semi", "flexmatch"])
def test_a_method_is_one_graph_to_the_compiler(method, outputs):
    settings = compose(f"method={method}", SMALL, f"outputs={outputs}")
    dataset, batch = open_dataset(settings.data, outputs), noise_batch(settings)
    module = build_method(settings, sizes_of(settings, dataset), CPU)
    forward = torch.compile(copy.deepcopy(module), backend="eager", fullgraph=True)
    for _ in range(2):  # what a step leaves behind is the next one's
        assert_close(forward(batch).loss, module(batch).loss)


def test_images_on_the_device_are_taken_within_a_graph_once_they_are_loaded():
    store, indices = ImageStore(random_bytes(5).numpy(), CPU, resident=True), torch.tensor([3, 1])
    expected = store.take(indices)
    assert torch.equal(
        torch.compile(store.take, backend="eager", fullgraph=True)(indices), expected
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", choices("method"))
def test_compiled_steps_learn_what_plain_ones_learn(method, outputs):
    found = []
    # Adam would make a whole step of the rounding of a gradient that is 0, as before a BatchNorm.
    shared = (*WORDS, "optimizer=sgd", "optimizer.lr=0.01", "optimizer.clip_grad_norm=1")
    shared += ("precision=fp32", "method.select=last")
    for compiled in ("on", "off"):
        words = (*shared, f"method={method}", *small_batches(method))
        cell = train(outputs / compiled, *words, f"compile={compiled}")
        assert cell.folder.record().runtime["kernels"] == {"on": "compiled"}.get(compiled, "plain")
        found.append(checkpoint.load(cell.folder.path / "last.pt")["method"])
    assert_close(*found, rtol=1e-3, atol=1e-4)
