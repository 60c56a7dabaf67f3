"""Sweeps that are killed, doubled and interrupted."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from helpers.commands import TINY, only_cell, records, start, train_here, wait_for, wait_for_curves

from sslbench.cell.record import DONE, INTERRUPTED, Record

GRID = ("-m", *TINY, "method=barlow", "steps=60", "seed=0,1,2")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
ENDLESS = ("-m", *TINY, "steps=100000", "seed=0,1")


def results(folder):
    return {name: record.results for name, record in records(folder).items()}


def begun(folder):
    """How often each cell came to its last step, by its log."""
    logs = (folder / "outputs" / "cells").glob("*/train.log")
    return [log.read_text().count("step 60/60: val_accuracy") for log in logs]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = train_here(folder, *GRID)
    assert result.returncode == 0, result
    assert len(results(folder)) == 3
    return results(folder)


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_a_killed_sweep_goes_on_to_the_same_records(launcher, undisturbed, tmp_path):
    process = start(tmp_path, *GRID, *launcher)
    wait_for(tmp_path, "outputs/cells/*/record.json")  # this one is the launcher's own
    os.kill(process.pid, signal.SIGKILL)  # its children have to notice
    process.communicate(timeout=60)
    statuses = [record.status for record in records(tmp_path).values() if record]
    assert 1 <= statuses.count(DONE) < 3, "it was to be killed between its cells"
    result = train_here(tmp_path, *GRID)
    assert result.returncode == 0, result
    assert results(tmp_path) == undisturbed


def test_two_sweeps_at_once_train_each_cell_once(undisturbed, tmp_path):
    other = start(tmp_path, *GRID)
    wait_for(tmp_path, "outputs/cells/*/.lock")
    mine = train_here(tmp_path, *GRID)
    output, _ = other.communicate(timeout=120)
    assert (mine.returncode, other.returncode) == (0, 0), (mine, output)
    assert results(tmp_path) == undisturbed
    assert begun(tmp_path) == [1, 1, 1]


@contextmanager
def held_until_waited_for(folder, before_release):
    """Hold the one cell that was trained here, without its record, till a sweep waits for it."""
    cell = only_cell(folder)
    record = cell.record()
    (cell.path / "record.json").unlink()
    is_held = threading.Event()

    def hold():
        with cell.locked():
            is_held.set()
            time.sleep(1.5)
            before_release(cell, record)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    try:
        yield cell
    finally:
        holder.join()


def test_what_another_sweep_leaves_is_taken_over(tmp_path):
    arguments = ("-m", *TINY, "steps=1")
    assert train_here(tmp_path, *arguments).returncode == 0

    def leave(cell, record):
        Record(cell.cell_id, INTERRUPTED, {}).save(cell.path)

    with held_until_waited_for(tmp_path, leave) as cell:
        result = train_here(tmp_path, *arguments)
    assert "waiting for 1 of another sweep's cells" in result.stdout
    assert result.returncode == 0, result
    assert cell.record().status == DONE


def test_a_child_waits_for_a_parent_that_another_sweep_trains(tmp_path):
    arguments = ("-m", *TINY, "steps=1")
    assert train_here(tmp_path, *arguments, "method=barlow").returncode == 0
    begin = ("method=semi", "init.from='barlow method.batch_size=8'")
    with held_until_waited_for(tmp_path, lambda cell, record: record.save(cell.path)):
        result = train_here(tmp_path, *arguments, *begin)
    assert "waiting for 1 of another sweep's cells" in result.stdout
    assert result.returncode == 0, result
    assert [record.status for record in records(tmp_path).values()] == [DONE, DONE]


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_ctrl_c_does_not_wait_for_another_sweeps_cells(launcher, tmp_path):
    arguments = ("-m", *TINY, "steps=1", *launcher)
    assert train_here(tmp_path, *TINY, "steps=1").returncode == 0
    cell = only_cell(tmp_path)
    (cell.path / "record.json").unlink()
    with cell.locked():
        process = start(tmp_path, *arguments)
        while not (line := process.stdout.readline()).startswith("waiting for 1"):
            assert line
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("number", "send", "launcher"),
    [
        (signal.SIGTERM, os.kill, ()),
        (signal.SIGINT, os.killpg, ()),
        (signal.SIGINT, os.killpg, JOBLIB),
        (signal.SIGINT, os.kill, JOBLIB),
    ],
    ids=["sigterm", "ctrl-c", "ctrl-c-joblib", "sigint-to-joblibs-main-process-only"],
)
def test_a_signal_saves_the_running_cells_and_is_the_exit_code(number, send, launcher, tmp_path):
    process = start(tmp_path, *ENDLESS, *launcher)
    running = 2 if launcher else 1  # an idle worker of joblib's would print a traceback of its own
    wait_for_curves(tmp_path, running)
    send(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert "RuntimeWarning" not in output
    assert "the same command goes on" in output
    found = [record.status for record in records(tmp_path).values() if record]
    assert found == [INTERRUPTED] * running
