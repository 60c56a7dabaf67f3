"""Sweeps that are killed, doubled and interrupted."""

import os
import signal
import threading
import time

import pytest
from helpers.commands import CURVES, TINY, only_cell, records, start, train_here, wait_for

from sslbench.cell.record import DONE, INTERRUPTED, Record

GRID = ("-m", *TINY, "method=barlow", "steps=40", "seed=0,1,2")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
ENDLESS = ("-m", *TINY, "steps=100000", "seed=0,1")


def results(folder):
    return {name: record.results for name, record in records(folder).items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = train_here(folder, *GRID)
    assert result.returncode == 0, result
    assert len(results(folder)) == 3
    return results(folder)


def kill(sweep):
    os.kill(sweep.pid, signal.SIGKILL)  # its children have to notice
    sweep.communicate(timeout=60)


def test_a_sweep_killed_by_either_launcher_goes_on_to_the_same_records(undisturbed, tmp_path):
    sweep = start(tmp_path, *GRID)
    wait_for(tmp_path, "outputs/cells/*/record.json")
    kill(sweep)
    sweep = start(tmp_path, *GRID, *JOBLIB)
    wait_for(tmp_path, CURVES, 3)
    kill(sweep)
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
    logs = [path.read_text() for path in tmp_path.glob("outputs/cells/*/train.log")]
    assert [log.count("step 40/40: val_accuracy") for log in logs] == [1, 1, 1]


def test_a_child_waits_for_a_parent_of_another_sweep_and_takes_over_what_it_leaves(tmp_path):
    arguments = ("-m", *TINY, "steps=1")
    assert train_here(tmp_path, *arguments, "method=barlow").returncode == 0
    parent = only_cell(tmp_path)
    (parent.path / "record.json").unlink()
    is_held = threading.Event()

    def hold_and_leave():
        with parent.locked():
            is_held.set()
            time.sleep(1.5)
            Record(parent.cell_id, INTERRUPTED, {}).save(parent.path)

    holder = threading.Thread(target=hold_and_leave)
    holder.start()
    is_held.wait()
    child = ("method=semi", "init.from='barlow method.batch_size=8'")
    result = train_here(tmp_path, *arguments, *child)
    holder.join()
    assert "waiting for 1 of another sweep's cells" in result.stdout
    assert result.returncode == 0, result
    assert [record.status for record in records(tmp_path).values()] == [DONE, DONE]


def test_ctrl_c_does_not_wait_for_another_sweeps_cells(tmp_path):
    assert train_here(tmp_path, *TINY, "steps=1").returncode == 0
    cell = only_cell(tmp_path)
    (cell.path / "record.json").unlink()
    with cell.locked():
        process = start(tmp_path, "-m", *TINY, "steps=1")
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
        (signal.SIGINT, os.killpg, JOBLIB),
        (signal.SIGINT, os.kill, JOBLIB),
    ],
    ids=["sigterm", "ctrl-c-joblib", "sigint-to-joblibs-main-process-only"],
)
def test_a_signal_saves_the_running_cells_and_is_the_exit_code(number, send, launcher, tmp_path):
    process = start(tmp_path, *ENDLESS, *launcher)
    running = 2 if launcher else 1  # an idle worker of joblib's would print a traceback of its own
    wait_for(tmp_path, CURVES, running)
    send(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert "RuntimeWarning" not in output
    assert "the same command goes on" in output
    found = [record.status for record in records(tmp_path).values() if record]
    assert found == [INTERRUPTED] * running
