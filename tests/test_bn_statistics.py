"""`bn_statistics` changes what is evaluated and nothing that is learnt; all that is kept agrees."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.cells import CPU, compose, make_cell
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

from sslbench import load_encoder
from sslbench.build import build
from sslbench.cell import checkpoint
from sslbench.cell.curves import CURVES, read_curves
from sslbench.engine.step import CapturedStep
from sslbench.evaluate import bn_statistics
from sslbench.evaluate.validation import Validation
from sslbench.sweep.training import train_cell

WRN = ("model=wrn45_2", "model.stem_width=4", "model.widths=[4,4]", "model.strides=[4,4]")
WRN += ("model.blocks_per_stage=1", "precision=fp32", "ratio=1:5")
SEMI = ("method=semi", "method.unlabeled_batch_size=8", "method.ema=0.9", "steps=6")
SEMI += ("method.eval_every=0.4",)  # after steps 3 and 6
BARLOW = ("method=barlow", "steps=2")
WAYS = ("running", "reestimated", "batch")


@pytest.fixture(scope="module")
def cells(outputs):
    """Return a trained cell by its method's settings and by `bn_statistics`, each trained once."""
    known = {}

    def cell(words, way):
        if (words, way) not in known:
            known[words, way] = make_cell(outputs, *WRN, *words, f"bn_statistics={way}")
            train(known[words, way])
        return known[words, way]

    return cell


def train(cell):
    with cell.folder.locked():
        return train_cell(cell)


def weights(cell):
    """Return those of the last step, with the statistics of training."""
    assert cell.settings.method.select == "best", "else they are replaced"
    return checkpoint.load(cell.folder.path / "last.pt")["method"]


def test_reestimated_statistics_are_plain_averages_over_batches(outputs, monkeypatch):
    monkeypatch.setattr(bn_statistics, "NUM_IMAGES", 45)
    monkeypatch.setattr(bn_statistics, "BATCH_IMAGES", 20)
    training = build(compose(*WRN, f"outputs={outputs}"))
    norm, seen = bn_statistics.find_norms(training.method.encoder)[0], []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(0, 1)))
    bn_statistics.reestimate_statistics(training)
    assert [images.shape[1] for images in seen] == [15, 15, 15]  # of 60
    channels = torch.stack([images.flatten(1) for images in seen]).double()
    assert_close(norm.running_mean.double(), channels.mean(2).mean(0), rtol=0, atol=1e-3)
    assert_close(norm.running_var.double(), channels.var(2).mean(0), rtol=0, atol=1e-3)
    assert norm.momentum == 0.001
    assert not norm.training


def test_a_captured_step_does_not_notice_validations(outputs):
    settings = compose(*WRN, *SEMI, f"outputs={outputs}")
    found, losses = [], []
    for way in (None, *WAYS):
        training = build(replace(settings, bn_statistics=way or "running"))
        step = CapturedStep(training.take_step, CPU, lambda function: function)
        for number in range(5):
            training.method.train()
            step(number)
            before = {name: it.data_ptr() for name, it in training.method.named_buffers()}
            if way is not None and number > 2:
                losses.append(Validation(training)({})["loss"])
            assert before == {name: it.data_ptr() for name, it in training.method.named_buffers()}
        found.append(checkpoint.digest(training.method))
    assert len(set(found)) == 1
    assert len(set(losses)) == 6


def test_a_cell_learns_the_same_and_is_another_one_by_what_is_evaluated(cells):
    learnt = [weights(cells(SEMI, way)) for way in WAYS]
    assert len({cells(SEMI, way).id for way in WAYS}) == 3
    for name, value in learnt[0].items():
        assert all(torch.equal(value, other[name]) for other in learnt[1:]), name
    losses = {cells(SEMI, way).folder.record().results["val"]["loss"] for way in WAYS}
    assert len(losses) == 3


AGREE = [(SEMI, "reestimated"), (SEMI, "batch"), (BARLOW, "reestimated")]


@pytest.mark.parametrize(("words", "way"), AGREE, ids=["ema", "batch", "last"])
def test_weights_embeddings_curves_and_record_agree(words, way, cells, outputs):
    cell = cells(words, way)
    record = cell.folder.record()
    assert record.status == "done", record.error
    at_best = [
        point["accuracy"]
        for point in read_curves(cell.folder.path / CURVES)
        if point["split"] == "val" and point["step"] == record.results["best_step"]
    ]
    assert at_best == [record.results["val"]["accuracy"]]
    training = build(cell.settings)
    (order,) = bn_statistics.mixed_batches(len(training.images.val))  # one batch
    images = training.images.val.store.take(torch.from_numpy(training.images.val.indices)[order])
    with torch.inference_mode():
        found = load_encoder(cell.id, outputs)(images)
    with np.load(cell.folder.path / "embeddings-val.npz") as saved:
        assert_close(found, torch.from_numpy(saved["embeddings"])[order], rtol=1e-4, atol=1e-4)


def test_a_stopped_cell_goes_on_to_the_same_bits(cells, outputs):
    expected = cells(SEMI, "reestimated").folder.record()
    words = (*WRN, *SEMI, "bn_statistics=reestimated")
    cell = make_cell(outputs / "stopped", *words, "log_every=3")
    seen = []

    def stop(*_):
        seen.append(None)
        if len(seen) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    hook = register_optimizer_step_pre_hook(stop)
    first = train(cell)
    hook.remove()
    assert (first.status, len(seen)) == ("interrupted", 4)
    assert train(cell).results == expected.results


@pytest.mark.slow
def test_compiled_steps_do_not_notice_validations_either(outputs):
    folder, words = outputs / "compiled", (*WRN, *SEMI, "compile=on")
    found = [make_cell(folder, *words, f"bn_statistics={way}") for way in WAYS]
    for cell in found:
        assert train(cell).runtime["kernels"] == "compiled"
    learnt = [weights(cell) for cell in found]
    for name, value in learnt[0].items():
        assert all(torch.equal(value, other[name]) for other in learnt[1:]), name


def test_records_tell_which_statistics_a_training_is_too_short_for(cells):
    def told(way):
        return [note.partition("=")[0] for note in cells(SEMI, way).folder.record().notes]

    assert told("running") == ["method.ema", "model.bn_momentum"]
    assert told("reestimated") == ["method.ema"]
