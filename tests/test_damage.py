"""Damaged files: a stopped cell ends as if they were not; those of a done one are named."""

import errno
import re
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from helpers.cells import curves_of
from helpers.crash import signalled, tiny_cell, train

from sslbench.build import build
from sslbench.cell import checkpoint
from sslbench.cell.cell import Cell
from sslbench.cell.curves import CURVES
from sslbench.cell.soundness import state_of
from sslbench.engine.loop import NotFinite
from sslbench.evaluate.cell import evaluate
from sslbench.sweep.isolated import train_isolated
from sslbench.sweep.training import train_cell, train_unless_done

TYPED = ("method=supervised", "steps=18")  # validated after steps 8, 15 and 18


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    cell = tiny_cell(tmp_path_factory.mktemp("done"), *TYPED)
    assert train(cell).status == "done"
    return cell


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A cell that stands at step 10, its checkpoint before that at step 8."""
    cell = tiny_cell(tmp_path_factory.mktemp("stopped"), *TYPED)
    with signalled(10, signal.SIGTERM):
        assert train(cell).status == "interrupted"
    return cell


def copied(cell, outputs, **settings):
    """Return a copy of a cell, below an output folder of its own, to be damaged."""
    shutil.copytree(cell.folder.path, outputs / "cells" / cell.id)
    (outputs / "cache").symlink_to(cell.folder.path.parents[1] / "cache")
    return Cell(replace(cell.settings, outputs=str(outputs), **settings), dict)


def flip(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 4
    path.write_bytes(contents)


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def save_for_another(path):
    checkpoint.save(path, checkpoint.load(path) | {"cell": "another"})


@pytest.mark.parametrize(
    ("names", "damage", "note"),
    [
        (["last.pt"], flip, "last.pt: .*went on after step 8"),
        (["last.pt"], save_for_another, "last.pt: a checkpoint of another cell, another"),
        (["last.pt", "before-last.pt"], cut, "before-last.pt: .*began anew"),
        (["metrics.jsonl"], cut, ""),
    ],
)
def test_a_stopped_cell_ends_as_if_nothing_had_been_damaged(
    names, damage, note, stopped, done, tmp_path, caplog
):
    cell = copied(stopped, tmp_path)
    for name in names:
        damage(cell.folder.path / name)
    record, expected = train(cell), done.folder.record()
    assert (record.status, record.results) == ("done", expected.results)
    assert curves_of(cell.folder) == curves_of(done.folder)
    assert re.search(note, "\n".join(record.notes))
    assert all(line in caplog.text for line in record.notes)


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()])
def test_a_cell_that_was_all_but_done_needs_no_sound_weights_to_end(damage, done, tmp_path):
    cell = copied(done, tmp_path)
    (cell.folder.path / "record.json").unlink()
    damage(cell.folder.path / "best.pt")
    assert train(cell).results == done.folder.record().results


def test_a_disk_that_does_not_read_costs_no_checkpoint(stopped, done, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    cell = copied(stopped, tmp_path)
    monkeypatch.setattr(torch, "load", fail)
    assert train(cell).error["type"] == "FileTrouble"
    monkeypatch.undo()
    record = train(cell)
    assert (record.status, record.results) == ("done", done.folder.record().results)
    assert not any("anew" in note for note in record.notes)


def test_a_cell_goes_on_only_to_the_same_bits(stopped, done, tmp_path, monkeypatch):
    monkeypatch.setattr("sslbench.run.code_digest", lambda _: "other code")
    expected = done.folder.record().results
    cell = copied(stopped, tmp_path / "exact")
    record = train(cell)
    assert (record.status, record.failures) == ("failed", 0)
    assert "at step 10" in record.error["message"]
    assert "is other code" in record.error["message"]
    for resume in ("force", "restart"):
        record = train(copied(stopped, tmp_path / resume, resume=resume))
        assert (record.status, record.results) == ("done", expected)
        assert any("is other code" in note for note in record.notes)
    monkeypatch.undo()
    assert train(cell).results == expected
    assert (
        "threads was 1, is 2" in train(copied(stopped, tmp_path / "2", threads=2)).error["message"]
    )


@pytest.mark.parametrize(
    "name", ["best.pt", "embeddings-test.npz", "metrics.jsonl", "settings.json"]
)
def test_a_damaged_file_of_a_done_cell_is_named_and_made_anew(name, done, tmp_path):
    cell = copied(done, tmp_path / "a")
    assert state_of(cell) == ("done", [])
    flip(cell.folder.path / name)
    state, [flaw] = state_of(cell)
    assert state == "damaged"
    assert f"{name}: damaged" in flaw
    expected = done.folder.record()
    mended = copied(cell, tmp_path / "b", resume="restart" if name == "best.pt" else "evaluate")
    record = train_unless_done(mended, train_cell)
    assert state_of(mended) == ("done", [])
    assert record.results == expected.results
    # The seconds that it took, and where it is.
    apart = {"last.pt": None, CURVES: None, "settings.json": None}
    assert record.files | apart == expected.files | apart


def test_a_damaged_record_is_made_anew_from_the_weights(done, tmp_path):
    cell = copied(done, tmp_path, resume="evaluate")
    flip(cell.folder.path / "record.json")
    assert state_of(cell)[0] == "damaged"
    assert train_unless_done(cell, train_cell).results == done.folder.record().results


def test_embeddings_that_are_not_finite_stop_an_evaluation(done):
    training = build(done.settings)
    with torch.no_grad():
        next(training.method.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(NotFinite, match="the embeddings of 107 of 107 images are not finite"):
        evaluate(training, ("val",))


def test_what_a_sweep_cannot_evaluate_again_keeps_its_results(done, tmp_path):
    cell = copied(done, tmp_path / "outputs", resume="evaluate")
    before = cell.folder.record()
    flip(cell.folder.path / "best.pt")
    cell.save_request()
    train_isolated(cell)
    assert cell.folder.record() == before
    (cell.folder.path / "record.json").unlink()
    record = train(cell)
    assert "there are no weights to evaluate" in record.error["message"]
    assert (cell.folder.path / "last.pt").exists()


def test_nothing_of_an_earlier_training_passes_for_a_later_ones(done, tmp_path):
    cell = copied(done, tmp_path, resume="restart")
    shutil.copy(cell.folder.path / "embeddings-val.npz", cell.folder.path / "snapshot-000003.npz")
    flip(cell.folder.path / "best.pt")
    record = train_unless_done(cell, train_cell)
    assert not (cell.folder.path / "snapshot-000003.npz").exists()
    assert any("best.pt" in note and "trained anew" in note for note in record.notes)
    state_of(cell)  # remembers what was compared
    record.files["best.pt"] = "0" * 64
    record.save(cell.folder.path)
    assert state_of(cell)[0] == "damaged"
