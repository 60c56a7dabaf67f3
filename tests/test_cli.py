"""One cell by the command: bad usage, trained, found done, gone on with, started from."""

import signal

import pytest
from helpers.commands import TINY, only_cell, records, train_here
from helpers.crash import signalled, tiny_cell
from helpers.layouts import make_layout

from sslbench.files.checksums import read_sealed, write_sealed
from sslbench.sweep.preflight import Preflight


def assert_refused(result, *words):
    assert result.returncode == 2, result
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=foo"], ["model=foo", "wrn45_2"]),
        (["optimizer.lr=abc"], ["optimizer.lr", "abc"]),
        (["+optimizer.lrr=1"], ["optimizer.lrr", "did you mean optimizer.lr?"]),
        (["model.name=resnet18"], ["use model=resnet18 or name it convnet"]),
        (["method=semi", "ratio=none"], ["ratio=none", "ratio=1:20"]),
        (["method=semi", "ratio=1:50", "data=digits"], ["ratio=1:50", "3,000", "1,200"]),
        (["data=stl10", "data.download=false"], ["tar -xzf", "data=digits", "data.url"]),
        (["init.from=nowhere.pt", "data=digits"], ["init.from=nowhere.pt"]),
        (["init.from=barlow", "data=digits"], ["init.from=barlow", "add -m"]),
        (["device=cuda:7", "data=digits"], ["device=cuda:7"]),
        (["experiment=table1"], ["-m experiment=table1"]),
        (["hydra.sweeper.dry_run=true", "data=digits"], ["dry_run=true", "add -m"]),
        (["-m", "steps=2,abc", "data=digits"], ["1 of 2", "steps=abc", "whole number"]),
        (["data=digits", "-m", "steps=2,0"], ["1 of 2", "steps=0: must be greater than 0"]),
        (["-m", "experiment=[table1,table4]"], ["one choice at a time", "experiment=paper"]),
        (["-m", "model=glob(none)"], ["model=glob(none): there is no such value"]),
        (["-m", "seed=range(0,1e15)"], ["asks for 1e+15 cells", "at most 10,000"]),
        (["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], ["n_jobs=0: must be from 1"]),
        (["threads=100000", "data=digits"], ["threads=100000: at most"]),
        (["outputs=$NO_SUCH/x"], ["outputs=$NO_SUCH/x: there is no variable $NO_SUCH"]),
        (["-m", "experiment=table1,table4"], ["cannot be swept", "experiment=paper"]),
        (["-m", "cell=semi-x", "data=digits"], ["cell=semi-x", "leave -m out"]),
        (["cell=semi-x"], ["cell=semi-x: there is no such cell below outputs/cells"]),
        (["data=digits", "outputs=/proc/none"], ["outputs=/proc/none"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_usage_is_refused_before_training(arguments, words, tmp_path):
    assert_refused(train_here(tmp_path, *arguments), *words)
    assert not (tmp_path / "outputs" / "cells").exists()


def test_damaged_data_is_named_and_never_replaced_by_the_stand_in(tmp_path):
    make_layout(tmp_path / "data")  # too few images for STL-10
    assert_refused(train_here(tmp_path, "data=auto", "data.root=data"), "train_X.bin")


def test_a_cell_is_trained_found_done_and_started_from(tmp_path):
    first = train_here(tmp_path, *TINY, "steps=2")
    assert first.returncode == 0, first
    assert "stand-in" in first.stdout
    cell = only_cell(tmp_path)
    for arguments in ([*TINY, "steps=2"], [f"cell={cell.cell_id}"]):
        again = train_here(tmp_path, *arguments)
        assert again.stdout.splitlines()[0] == "done before: found, not trained again"
        assert "other code" not in again.stdout
    child = train_here(tmp_path, *TINY, "method=semi", "steps=2", f"init.from={cell.cell_id}")
    assert child.returncode == 0, child
    other = ("method=semi", "steps=2", "model=wrn45_2", f"init.from={cell.path / 'best.pt'}")
    refused = train_here(tmp_path, "data=digits", "tracking=off", *other)
    assert_refused(refused, "another encoder", "wrn45_2")


def test_a_cell_that_another_process_trains_is_left_alone_then_found_done(tmp_path, monkeypatch):
    assert train_here(tmp_path, *TINY, "steps=1").returncode == 0
    cell = only_cell(tmp_path)
    record = cell.record()
    (cell.path / "record.json").unlink()
    curves = (cell.path / "metrics.jsonl").stat()
    with cell.locked():
        held = train_here(tmp_path, *TINY, "steps=1")
    assert held.returncode == 1
    assert f"another process is training outputs/cells/{cell.cell_id}" in held.stderr
    assert cell.record() is None
    # Between the first look at the record and the lock the other process writes it.
    monkeypatch.setattr(Preflight, "check", lambda *_: record.save(cell.path))
    found = train_here(tmp_path, *TINY, "steps=1")
    assert found.returncode == 0, found
    assert cell.record() == record
    assert (cell.path / "metrics.jsonl").stat() == curves


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"batch_size": 8', '"batch_size": 9', "does not match its checksum"),
        ("{", "", "not a cell's settings"),
    ],
)
def test_damaged_settings_are_refused(old, new, message, tmp_path):
    cell = tiny_cell(tmp_path / "outputs")
    cell.save_request()
    path = cell.folder.path / "settings.json"
    path.write_text(path.read_text().replace(old, new, 1))
    assert_refused(train_here(tmp_path, f"cell={cell.id}"), "settings.json: ", message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 9}, "the settings of another cell, supervised-convnet-"),
        ({"batch_sise": 8}, "not settings of this version"),
    ],
)
def test_settings_that_do_not_fit_their_cell_are_refused(change, message, tmp_path):
    cell = tiny_cell(tmp_path / "outputs")
    cell.save_request()
    path = cell.folder.path / "settings.json"
    contents = read_sealed(path)
    contents["settings"]["method"] |= change
    write_sealed(path, contents)
    assert_refused(train_here(tmp_path, f"cell={cell.id}"), "settings.json: ", message)


def test_without_network_auto_runs_on_the_stand_in_and_says_so(tmp_path):
    result = train_here(tmp_path, *TINY[1:], "steps=1", "data.url=http://127.0.0.1:9/x.tar.gz")
    assert result.returncode == 0, result
    assert "NOT STL-10" in result.stdout
    assert "digits" in result.stdout


def test_ctrl_c_saves_and_the_cell_goes_on_by_its_id(tmp_path):
    with signalled(3, signal.SIGINT):
        stopped = train_here(tmp_path, *TINY, "steps=5")
    assert stopped.returncode == 128 + signal.SIGINT
    assert "the same command goes on" in stopped.stdout
    [(cell, record)] = records(tmp_path).items()
    assert record.status == "interrupted"
    refused = train_here(tmp_path, f"cell={cell}", "steps=3")
    assert_refused(refused, f"cell={cell} steps=3", "leave steps=3 out")
    resumed = train_here(tmp_path, f"cell={cell}")
    assert resumed.returncode == 0, resumed
    assert "resumed after step" in resumed.stdout
    done = records(tmp_path)[cell]
    assert (done.status, done.settings, done.streams) == ("done", record.settings, ["labeled"])
