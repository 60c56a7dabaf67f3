"""What TensorBoard gets of a cell, read back from its event files."""

import logging

import pytest
from helpers.cells import SMALL, make_cell, train

from sslbench.cell.curves import CURVES, read_curves
from sslbench.machine import extras
from sslbench.sweep.preflight import Preflight
from sslbench.tracking import TensorBoardTracker


def test_its_curves_are_those_of_the_cell(outputs):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cell = train(outputs, SMALL, "tracking=tensorboard", "steps=4")
    events = EventAccumulator(str(cell.folder.path / "tensorboard")).Reload()
    points = read_curves(cell.folder.path / CURVES)
    expected = [(it["step"], it["loss"]) for it in points if it["split"] == "train"]
    found = [(it.step, it.value) for it in events.Scalars("train/loss")]
    assert found == [(step, pytest.approx(loss)) for step, loss in expected]
    [accuracy] = events.Scalars("results/test/accuracy")
    assert accuracy.value == pytest.approx(cell.folder.record().results["test"]["accuracy"])
    assert events.Tags()["images"] == ["images"]


def test_trouble_with_it_costs_nothing(tmp_path, caplog):
    (tmp_path / "tensorboard").touch()  # no folder can be made there
    tracker = TensorBoardTracker(tmp_path)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            tracker.log({"step": step, "train/loss": 1.0})
        tracker.finish(0)
    assert [it.message[:35] for it in caplog.records] == [
        "TensorBoard failed, going on without"[:35]
    ]


def test_where_it_is_missing_that_is_said_before_anything_trains(outputs, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    settings = make_cell(outputs, SMALL, "tracking=tensorboard").settings
    with pytest.raises(
        ValueError, match=r"needs tensorboard.*pip install 'sslbench\[tensorboard\]'"
    ):
        Preflight().check(settings)
