"""Sweeps that are killed, doubled and interrupted."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from io import StringIO

import pytest
from helpers.cells import composer, save_record
from helpers.commands import (
    CURVES,
    JOBLIB,
    PATIENCE_SECONDS,
    TINY,
    only_cell,
    records,
    share_digits,
    start,
    train_here,
    wait_for,
)
from helpers.crash import signalled_once

from sslbench.cell.record import DONE, FAILED, INTERRUPTED, Record
from sslbench.exit_codes import CellStopped
from sslbench.sweep.engine import Here
from sslbench.sweep.plan import Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.run import run_sweep

GRID = ("-m", *TINY, "steps=8", "seed=0,1,2")
LONG = ("-m", *TINY, "steps=100000")
"""Longer than a test has patience."""


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


@pytest.mark.parametrize("launcher", [(), pytest.param(JOBLIB, marks=pytest.mark.slow)])
def test_a_sweep_that_is_killed_goes_on_to_the_same_records(launcher, undisturbed, tmp_path):
    sweep = start(tmp_path, *GRID, *launcher)
    wait_for(tmp_path, "outputs/cells/*/record.json")
    kill(sweep)
    statuses = [record.status for record in records(tmp_path).values() if record]
    assert 1 <= statuses.count(DONE) < 3, "it was to be killed between its cells"
    result = train_here(tmp_path, *GRID)
    assert result.returncode == 0, result
    assert results(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_child_waits_for_a_parent_of_another_sweep_and_takes_over_what_it_leaves(tmp_path):
    arguments = ("-m", *TINY, "steps=1")
    assert train_here(tmp_path, *arguments, "method=barlow").returncode == 0
    parent = only_cell(tmp_path)
    (parent.path / "record.json").unlink()
    is_held = threading.Event()

    def hold_and_leave():
        with parent.locked():
            is_held.set()
            time.sleep(2.5)
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

    def waits():
        is_running = isinstance(sys.stdout, StringIO)
        return is_running and "waiting for 1" in sys.stdout.getvalue()

    with cell.locked(), signalled_once(waits, signal.SIGINT):
        left = train_here(tmp_path, "-m", *TINY, "steps=1")
    assert "waiting for 1" in left.stdout
    assert left.returncode == 130, left
    assert "Traceback" not in left.stdout + left.stderr


def assert_saved(folder, number, code, output):
    assert code == 128 + number, output
    assert "Traceback" not in output
    assert "RuntimeWarning" not in output
    assert "the same command goes on" in output
    assert [record.status for record in records(folder).values() if record] == [INTERRUPTED]


def test_sigterm_saves_the_running_cell_and_is_the_exit_code(tmp_path):
    with signalled_once(lambda: list(tmp_path.glob(CURVES)), signal.SIGTERM):
        left = train_here(tmp_path, *LONG)
    assert_saved(tmp_path, signal.SIGTERM, left.returncode, left.stdout + left.stderr)


def test_ctrl_c_saves_the_cells_of_workers_and_is_the_exit_code(tmp_path):
    process = start(tmp_path, *LONG, *JOBLIB)
    try:
        wait_for(tmp_path, CURVES)  # one of joblib's two workers is idle
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert_saved(tmp_path, signal.SIGINT, process.returncode, output)


@pytest.fixture
def compose(tmp_path):
    share_digits(tmp_path / "outputs")
    return lambda overrides: composer([*TINY, f"outputs={tmp_path}/outputs", *overrides])


def sweep(compose, launch, *requests):
    """Run a sweep whose launcher is a function of the cells' ids."""
    run_sweep(
        lambda: requests,
        compose,
        Here(
            lambda jobs, workers: launch([words[0].removeprefix("cell=") for words in jobs]),
            n_jobs=2,
        ),
        dry_run=False,
        retry_failed=True,
        retry_limit=3,
        skip_invalid=False,
    )


def save(folder, cell, status):
    accuracies = {split: {"accuracy": 0.5} for split in ("val", "test")}
    error = {"type": "Sabotage", "message": status} if status == FAILED else None
    save_record(folder / "outputs" / "cells" / cell, status, results=accuracies, error=error)


@pytest.mark.parametrize("death", [BrokenExecutor(), CellStopped(143)], ids=["killed", "told"])
def test_cells_that_are_lost_with_a_worker_are_started_again(death, compose, tmp_path, capsys):
    launched = []

    def launch(cells):
        launched.append(cells)
        for cell in cells[: len(launched)]:
            save(tmp_path, cell, DONE)
        if len(launched) == 1:
            raise death

    sweep(compose, launch, ["seed=0"], ["seed=1"])
    (_, second), again = launched
    assert again == [second]
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "lost" in line] == [
        f"{second}: has lost its process; started again"
    ]
    assert lines[-1] == "all 2 cells are done"


def test_a_sweep_gives_up_when_its_workers_die_again_and_again(compose):
    launched = []

    def launch(cells):
        launched.append(cells)
        raise BrokenExecutor

    with pytest.raises(CellStopped) as stopped:
        sweep(compose, launch, ["seed=0"])
    assert (stopped.value.code, len(launched)) == (1, 3)


def test_a_cell_that_another_sweep_has_done_is_not_blocked(compose, tmp_path):
    request = ["method=semi", "init.from=barlow"]
    planner = Planner(compose, Preflight(), retry_failed=True, retry_limit=3)
    child = planner.plan([request]).jobs[-1].cell
    child.save_request()

    def launch(cells):
        save(tmp_path, cells[0], FAILED)
        save(tmp_path, child.id, DONE)

    with pytest.raises(CellStopped):
        sweep(compose, launch, request)
    assert {name: record.status for name, record in records(tmp_path).items()}[child.id] == DONE
