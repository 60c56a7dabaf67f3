"""A cell that was killed and run again equals one that was never stopped, bit for bit."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from crash import in_process, kill_at_step, kill_in_checkpoint, signal_at_step, tiny_cell, train

from sslbench.atomic import read_curves
from sslbench.cell import checkpoint
from sslbench.cell.folder import CellFolder
from sslbench.cell.identity import cell_id
from sslbench.config import settings as schema
from sslbench.sweep.job import train_cell

METHODS = {
    "supervised": ("method=supervised", "steps=18"),
    "barlow": ("method=barlow", "steps=10", "method.eval_every=0.03"),
    "semi": ("method=semi", "steps=18", "method.unlabeled_batch_size=8", "method.ema=0.9"),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Train each method without interruption, once."""
    known = {}

    def reference(method):
        if method not in known:
            outputs = tmp_path_factory.mktemp(method)
            known[method] = train(outputs, *METHODS[method]), outputs
        return known[method]

    return reference


def assert_same(outputs, method, reference):
    record, reference_outputs = reference
    _, cell = tiny_cell(outputs, *METHODS[method])
    _, undisturbed_cell = tiny_cell(reference_outputs, *METHODS[method])
    found = cell.record()
    assert found.status == "done", found.error
    assert found.results == record.results
    assert found.cell == record.cell
    for name in ("best.pt", "last.pt"):
        first, second = (
            checkpoint.load(folder.path / name)["method"] for folder in (cell, undisturbed_cell)
        )
        assert all((first[key] == second[key]).all() for key in second)
    curves = [read_curves(folder.path / "metrics.jsonl") for folder in (cell, undisturbed_cell)]
    assert curves[0] == curves[1]
    with (
        np.load(cell.path / "embeddings-test.npz") as first,
        np.load(undisturbed_cell.path / "embeddings-test.npz") as second,
    ):
        assert all((first[key] == second[key]).all() for key in second)
    assert not list(cell.path.glob(".*.tmp"))


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_with_one_seed_are_bitwise_equal(method, undisturbed, tmp_path):
    train(tmp_path, *METHODS[method])
    assert_same(tmp_path, method, undisturbed(method))


@pytest.mark.parametrize(
    ("method", "num_images"),
    [("supervised", 3 * 8), ("barlow", 60), ("semi", 3 * 8)],  # validated after steps 15 and 18
)
def test_the_train_accuracy_is_a_share_of_as_many_images_as_are_recorded(
    method, num_images, undisturbed
):
    train_results = undisturbed(method)[0].results["train"]
    assert train_results["num_images"] == num_images
    num_correct = train_results["accuracy"] * num_images
    assert num_correct == pytest.approx(round(num_correct), abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_killed_between_checkpoints(method, undisturbed, tmp_path):
    for step in (5, 9):
        assert in_process(kill_at_step, step, tmp_path, *METHODS[method]) == -signal.SIGKILL
    _, cell = tiny_cell(tmp_path, *METHODS[method])
    assert (cell.path / "last.pt").exists(), "there was nothing to go on from"
    assert cell.record() is None
    train(tmp_path, *METHODS[method])
    assert_same(tmp_path, method, undisturbed(method))


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("method", METHODS)
def test_killed_in_a_checkpoint(method, name, undisturbed, tmp_path):
    number = 2 if name == "last.pt" else 1
    code = in_process(kill_in_checkpoint, number, name, tmp_path, *METHODS[method])
    assert code == -signal.SIGKILL
    train(tmp_path, *METHODS[method])
    assert_same(tmp_path, method, undisturbed(method))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(number, undisturbed, tmp_path):
    assert in_process(signal_at_step, 6, number, tmp_path, *METHODS["semi"]) == 0
    _, cell = tiny_cell(tmp_path, *METHODS["semi"])
    record = cell.record()
    assert record.status == "interrupted"
    assert "after step 7" in record.error["message"]
    assert checkpoint.load(cell.path / "last.pt")["step"] == 7
    train(tmp_path, *METHODS["semi"])
    assert_same(tmp_path, "semi", undisturbed("semi"))


def test_a_half_written_line_of_a_curve_is_drawn_again(undisturbed, tmp_path):
    in_process(kill_at_step, 9, tmp_path, *METHODS["supervised"])
    _, cell = tiny_cell(tmp_path, *METHODS["supervised"])
    with (cell.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    train(tmp_path, *METHODS["supervised"])
    assert_same(tmp_path, "supervised", undisturbed("supervised"))


def test_a_loss_that_is_not_finite_stops_the_cell_and_names_the_images(tmp_path):
    overrides = ("method=supervised", "steps=18", "optimizer.lr=1e30")
    record = train(tmp_path, *overrides)
    assert record.status == "failed"
    assert record.error["type"] == "NonFiniteLoss"
    settings, cell = tiny_cell(tmp_path, *overrides)
    step = record.error["step"]
    assert 0 < step < 18
    assert len(record.error["indices"]["labeled"]) == settings.method.batch_size
    assert record.failures == 1
    assert json.loads((cell.path / "record.json").read_text())["status"] == "failed"
    assert train(tmp_path, *overrides).failures == 2


def test_how_often_a_cell_is_validated_changes_nothing_that_it_learns(tmp_path):
    digests = set()
    for epochs in (0.01, 100):
        settings, _ = tiny_cell(
            tmp_path / str(epochs), *METHODS["semi"], "steps=3", f"method.eval_every={epochs}"
        )
        settings = replace(settings, model=schema.ResNet18(name="resnet18"))  # it normalises
        settings.method.select = "last"
        cell = CellFolder(settings.outputs, cell_id(settings))
        with cell.locked():
            record = train_cell(settings, cell, show_bar=False)
        digests.add(record.results["weights_sha256"])
    assert len(digests) == 1
