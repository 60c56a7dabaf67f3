"""Sweeps and cells that are told to stop, or lose a process, at any moment."""

import os
import random
import signal
import subprocess
import time

import pytest
from helpers.commands import CURVES, JOBLIB, TINY, only_cell, records, start, wait_for

from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE, FAILED

ROUNDS = 50
KINDS = {"one cell": (), "serial": ("-m", "seed=0,1,2"), "joblib": ("-m", "seed=0,1,2", *JOBLIB)}
GRACE_SECONDS = 5
"""After a command has ended, none of its processes is there."""
STARTUP_SECONDS = 0.5
"""Until then the system ends Python by the signal itself."""

pytestmark = pytest.mark.slow


def processes(session):
    """Return the command lines of a session's living processes by number."""
    command = ["ps", "-o", "pid=,stat=,args=", "-s", str(session)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found = [line.split(None, 2) for line in lines]
    return {int(pid): arguments for pid, state, arguments in found if state[0] != "Z"}


def finish(command):
    output, _ = command.communicate(timeout=300)
    assert "Traceback" not in output, output
    time.sleep(GRACE_SECONDS)
    assert processes(command.pid) == {}
    return output


def assert_goes_on(folder, arguments):
    again = start(folder, *arguments)
    assert "Traceback" not in (output := again.communicate()[0]), output
    assert again.returncode == 0, output
    found = records(folder).values()
    assert {record.status for record in found} == {DONE}
    for record in found:
        assert record.runtime["total_seconds"] >= record.runtime["train_seconds"]


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_at_any_moment(kind, seed, tmp_path):
    draw = random.Random(f"{kind} {seed}")
    number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
    send = draw.choice([os.kill, os.killpg])
    again_after = draw.choice([None, 0.05, 0.6, 1.5])
    wait = draw.choice([draw.uniform(0.2, 2), draw.uniform(1, 12), draw.uniform(10, 30)])
    arguments = (*KINDS[kind], *TINY, "steps=20")
    command = start(tmp_path, *arguments)
    time.sleep(wait)
    codes = {0, 128 + number} | ({-number} if wait < STARTUP_SECONDS else set())
    if command.poll() is None:
        send(command.pid, number)
        if again_after is not None:
            time.sleep(again_after)
            if command.poll() is None:
                send(command.pid, number)
    output = finish(command)
    assert command.returncode in codes, output
    assert FAILED not in [record.status for record in records(tmp_path).values() if record]
    assert_goes_on(tmp_path, arguments)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize(
    ("kind", "victim"),
    [("joblib", "popen_loky"), ("joblib", "forkserver"), ("serial", "forkserver")],
)
def test_a_sweep_that_loses_a_process_ends_with_all_done(kind, victim, seed, tmp_path):
    draw = random.Random(f"{kind} {victim} {seed}")
    command = start(tmp_path, *KINDS[kind], *TINY, "steps=20")
    time.sleep(draw.uniform(4, 20))
    victims = [pid for pid, line in processes(command.pid).items() if victim in line]
    if victims:
        os.kill(draw.choice(victims), draw.choice([signal.SIGKILL, signal.SIGTERM]))
    output = finish(command)
    assert command.returncode == 0, output
    assert {record.status for record in records(tmp_path).values()} == {DONE}


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["serial", "joblib"])
def test_a_cell_that_is_killed_has_failed_and_what_it_took_before_counts_on(launcher, tmp_path):
    arguments = ("-m", *TINY, "steps=300", *launcher)
    command = start(tmp_path, *arguments)
    wait_for(tmp_path, CURVES)
    command.terminate()
    finish(command)
    (interrupted,) = records(tmp_path).values()
    cell = only_cell(tmp_path)
    earlier = cell.holder()
    command = start(tmp_path, *arguments)
    while cell.state() != RUNNING or cell.holder() in (0, earlier, command.pid):
        time.sleep(0.1)
    os.kill(cell.holder(), signal.SIGKILL)
    output = finish(command)
    assert command.returncode == 1, output
    (killed,) = records(tmp_path).values()
    assert (killed.status, killed.failures) == (FAILED, 1)
    assert killed.runtime["total_seconds"] >= interrupted.runtime["total_seconds"] > 0
    assert_goes_on(tmp_path, arguments)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("kind", ["serial", "joblib"])
def test_nothing_survives_a_sweep_that_is_killed(kind, seed, tmp_path):
    draw = random.Random(f"{kind} {seed}")
    arguments = (*KINDS[kind], *TINY, "steps=20")
    command = start(tmp_path, *arguments)
    time.sleep(draw.uniform(0.2, 20))
    command.kill()
    finish(command)
    assert_goes_on(tmp_path, arguments)
