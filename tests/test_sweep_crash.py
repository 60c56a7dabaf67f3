"""Sweeps that are killed, doubled and interrupted."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from test_cli import environment, train
from test_sweep import SMALL, records

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import DONE, INTERRUPTED, Record, load_record


def start(tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "sslbench.train", "-m", *arguments],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_curves(tmp_path, number=1):
    """Wait until so many cells have logged their first point."""
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("outputs/cells/*/metrics.jsonl"))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


GRID = (*SMALL, "method=supervised,semi", "steps=12", "seed=0,1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = train(folder, "-m", *GRID, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert result.returncode == 0, result.stdout + result.stderr
    return {name: record.results for name, record in records(folder).items()}


def test_both_launchers_make_the_same_records(undisturbed, tmp_path):
    # One thread each, as two workers have it: sums over threads round differently.
    assert train(tmp_path, "-m", *GRID, "threads=1").returncode == 0
    assert {name: r.results for name, r in records(tmp_path).items()} == undisturbed
    assert len(undisturbed) == 4


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_killed_sweep_goes_on(launcher, undisturbed, tmp_path):
    arguments = (*GRID, "threads=1", f"hydra/launcher={launcher}")
    for wait in (0.2, 1.0):
        process = start(tmp_path, *arguments)
        wait_for_curves(tmp_path)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)  # its children have to notice
        process.communicate()
    result = train(tmp_path, "-m", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert {name: r.results for name, r in records(tmp_path).items()} == undisturbed


def test_two_sweeps_at_once_train_each_cell_once(undisturbed, tmp_path):
    both = [start(tmp_path, *GRID, "threads=1") for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert {name: r.results for name, r in records(tmp_path).items()} == undisturbed
    trained = [line for output in outputs for line in output.splitlines() if "step 12/12" in line]
    assert len(trained) == 2 * len(undisturbed)  # each cell says so twice: curve and validation


@contextmanager
def sweep_that_waits(tmp_path, *arguments):
    """Hold the one cell that was trained here, without its record, while a sweep waits for it."""
    (cell,) = (tmp_path / "outputs" / "cells").iterdir()
    (cell / "record.json").rename(tmp_path / "record.json")
    with CellFolder(tmp_path / "outputs", cell.name).locked():
        process = start(tmp_path, *arguments)
        while not (line := process.stdout.readline()).startswith("waiting for 1"):
            assert line
        yield process, cell


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_does_not_wait_for_another_sweeps_cells(launcher, tmp_path):
    arguments = (*SMALL, "steps=1", "seed=0", f"hydra/launcher={launcher}")
    assert train(tmp_path, "-m", *arguments).returncode == 0
    with sweep_that_waits(tmp_path, *arguments) as (process, _):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert "Traceback" not in output


def test_what_another_sweep_leaves_is_taken_over(tmp_path):
    arguments = (*SMALL, "steps=1", "seed=0")
    assert train(tmp_path, "-m", *arguments).returncode == 0
    with sweep_that_waits(tmp_path, *arguments) as (process, cell):
        Record(cell.name, INTERRUPTED, {}).save(cell)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert load_record(cell).status == DONE


def test_a_child_waits_for_a_parent_that_another_sweep_trains(tmp_path):
    arguments = (*SMALL, "steps=1", "seed=0")
    assert train(tmp_path, "-m", *arguments, "method=barlow").returncode == 0
    start_from = "init.from='barlow method.batch_size=8'"
    arguments = (*arguments, "method=semi", start_from)
    with sweep_that_waits(tmp_path, *arguments) as (process, cell):
        (tmp_path / "record.json").rename(cell / "record.json")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert [record.status for record in records(tmp_path).values()] == [DONE, DONE]


def test_a_sweep_leaves_with_the_code_of_the_signal_that_stopped_it(tmp_path):
    process = start(tmp_path, *SMALL, "steps=100000", "seed=0")
    wait_for_curves(tmp_path)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "the same command goes on" in output


@pytest.mark.parametrize(
    ("launcher", "send"),
    [("basic", os.killpg), ("joblib", os.killpg), ("joblib", os.kill)],
    ids=["basic", "joblib", "joblib-main-process-only"],
)
def test_ctrl_c_saves_the_running_cells(launcher, send, tmp_path):
    slow = ["data=digits", "tracking=off", "model=resnet18", "log_every=1"]  # steps take a while
    process = start(tmp_path, *slow, "steps=4000", "seed=0,1", f"hydra/launcher={launcher}")
    running = 2 if launcher == "joblib" else 1
    wait_for_curves(tmp_path, running)
    send(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "the same command goes on" in output
    assert "RuntimeWarning" not in output
    found = [record.status for record in records(tmp_path).values() if record]
    assert found == ["interrupted"] * running
