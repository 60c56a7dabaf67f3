"""A cell that was killed and run again equals one that was never stopped, bit for bit."""

import signal
from dataclasses import replace

import numpy as np
import pytest
from helpers.cells import curves_of
from helpers.crash import in_process, kill_in_file, signal_in_step, tiny_cell, train

from sslbench.cell import checkpoint
from sslbench.cell.cell import Cell
from sslbench.cell.curves import CURVES
from sslbench.models.wide_resnet import WideResNet

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
            cell = tiny_cell(tmp_path_factory.mktemp(method), *METHODS[method])
            train(cell)
            known[method] = cell.folder
        return known[method]

    return reference


def assert_same(mine, other):
    record, expected = mine.record(), other.record()
    assert record.status == "done", record.error
    assert record.results == expected.results
    assert record.cell == expected.cell
    # The seconds that it took, and where it is.
    apart = {"last.pt": None, CURVES: None, "settings.json": None}
    assert record.files | apart == expected.files | apart
    for name in (record.results["weights"], "last.pt"):
        first, second = (checkpoint.load(it.path / name)["method"] for it in (mine, other))
        assert first.keys() == second.keys()
        assert all((first[key] == second[key]).all() for key in second)
    assert curves_of(mine) == curves_of(other)
    for split in ("val", "test"):
        name = f"embeddings-{split}.npz"
        with np.load(mine.path / name) as first, np.load(other.path / name) as second:
            assert all((first[key] == second[key]).all() for key in second)
    assert not list(mine.path.glob(".*.tmp"))


def test_the_train_accuracy_is_a_share_of_as_many_images_as_are_recorded(undisturbed):
    for method, num_images in (("supervised", 3 * 8), ("barlow", 60), ("semi", 3 * 8)):
        found = undisturbed(method).record().results["train"]
        assert found["num_images"] == num_images  # batches are validated after steps 15 and 18
        num_correct = found["accuracy"] * num_images
        assert num_correct == pytest.approx(round(num_correct), abs=1e-4)


def test_a_record_says_what_each_part_of_a_cell_took(undisturbed):
    runtime = undisturbed("supervised").record().runtime
    parts = dict(runtime["seconds"])
    assert min(parts.values()) > 0
    assert sum(parts.values()) < runtime["total_seconds"]
    loop = sum(parts.pop(name) for name in ("steps", "validation", "checkpoints"))
    assert loop == pytest.approx(runtime["train_seconds"], abs=0.005)
    assert parts.keys() == {"start", "evaluation"}


@pytest.mark.parametrize("method", METHODS)
def test_killed_between_checkpoints(method, undisturbed, tmp_path):
    cell = tiny_cell(tmp_path, *METHODS[method])
    steps = (6, 14) if method != "barlow" else (6, 4)
    for step, after in zip(steps, (None, "last.pt"), strict=True):  # the second leaves one
        assert in_process(signal_in_step, cell, step, signal.SIGKILL, after) == -signal.SIGKILL
    assert (cell.folder.path / "last.pt").exists(), "there was nothing to go on from"
    assert (cell.folder.state(), cell.folder.record()) == ("interrupted", None)
    with (cell.folder.path / CURVES).open("a") as file:
        file.write('{"step": 9, "lo')  # a line half written
    train(cell)
    assert_same(cell.folder, undisturbed(method))


@pytest.mark.parametrize(
    "method", ["supervised", "barlow", pytest.param("semi", marks=pytest.mark.slow)]
)
def test_killed_in_checkpoints(method, undisturbed, tmp_path):
    cell = tiny_cell(tmp_path, *METHODS[method])
    at_the_end = "record.json" if method == "barlow" else "best.pt"
    for name, number in (("last.pt", 2), (at_the_end, 1)):
        assert in_process(kill_in_file, cell, name, number) == -signal.SIGKILL
        assert list(cell.folder.path.glob(f".{name}.*.tmp")), "it was not being written"
    train(cell)
    assert_same(cell.folder, undisturbed(method))


def test_a_loss_that_is_not_finite_stops_the_cell_and_names_the_images(tmp_path):
    cell = tiny_cell(tmp_path, "method=supervised", "steps=18", "optimizer.lr=1e30")
    record = train(cell)
    assert record.status == "failed"
    assert record.error["type"] == "NonFiniteLoss"
    assert 0 < record.error["step"] < 18
    assert len(record.error["indices"]["labeled"]) == cell.settings.method.batch_size
    assert record.failures == 1
    assert cell.folder.state() == "failed"
    assert train(cell).failures == 2


def test_how_often_a_cell_is_validated_changes_nothing_that_it_learns(tmp_path):
    # A model with BatchNorm, which would learn from what it is validated on in train mode.
    shared = ("method=semi", "steps=2", "method.unlabeled_batch_size=8", "method.select=last")
    digests = set()
    for epochs in (0.01, 100):
        cell = tiny_cell(tmp_path, *shared, f"method.eval_every={epochs}")
        model = WideResNet(widths=[8] * 4, strides=[2] * 4, blocks_per_stage=1)
        cell = Cell(replace(cell.settings, model=model), dict)
        digests.add(train(cell).results["weights_sha256"])
    assert len(digests) == 1
