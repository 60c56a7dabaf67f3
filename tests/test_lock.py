"""Locks: between processes, and between machines that share nothing but a folder."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import Record
from sslbench.files import lock as locks
from sslbench.files.lock import LOST_EXIT_CODE, Held, Lock, alone, is_held, read_claim

HOLD = """
import sys, time
from pathlib import Path
from sslbench.files import lock
lock.this_machine = lambda: sys.argv[2]
lock.HEARTBEAT_SECONDS = 0.05
held = lock.Lock(Path(sys.argv[1]))
held.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path):
    """Returns what has a process of a machine hold the lock."""
    started = []

    def start(machine):
        command = [sys.executable, "-c", HOLD, tmp_path / "lock", machine]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def lock(tmp_path):
    """Returns new claims to the lock, which are given back at the end."""
    made = []

    def claim():
        made.append(Lock(tmp_path / "lock"))
        return made[-1]

    yield claim
    for each in made:
        each.release()


@pytest.fixture
def soon_stale(monkeypatch):
    monkeypatch.setattr(locks, "STALE_SECONDS", 0.4)
    monkeypatch.setattr(locks, "HALF_WRITTEN_SECONDS", 0.2)


def test_one_has_it_at_a_time_and_gives_it_back(lock, tmp_path):
    first, second = lock(), lock()
    first.acquire()
    assert is_held(tmp_path / "lock")
    with pytest.raises(Held, match=f"process {os.getpid()} on "):
        second.acquire()
    first.release()
    assert list(tmp_path.iterdir()) == []
    second.acquire()
    second.release()


def test_of_many_at_once_one_has_it(lock, tmp_path):
    holders, most = [], []

    def take(number):
        mine = lock()
        while True:  # on a busy machine others have it for longer than it waits
            with suppress(Held):
                mine.acquire()
                break
        holders.append(number)
        most.append(len(holders))
        time.sleep(0.001)
        holders.remove(number)
        mine.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(64)))
    assert most == [1] * 64


def test_a_dead_process_of_this_machine_has_it_no_more(lock, tmp_path, hold):
    process = hold(locks.this_machine())
    assert is_held(tmp_path / "lock")
    process.kill()
    process.wait()
    assert not is_held(tmp_path / "lock")
    began = time.monotonic()
    lock().acquire()
    assert time.monotonic() - began < 1


def test_another_machine_keeps_it_as_long_as_it_shows_that_it_lives(
    lock, tmp_path, hold, soon_stale
):
    hold("another")
    for _ in range(2):  # as long as a silent one has it, and longer
        with pytest.raises(Held):
            lock().acquire(outlast=True)
    assert is_held(tmp_path / "lock")


def test_whoever_waits_says_for_whom_and_goes_on_when_it_is_free(
    tmp_path, hold, monkeypatch, caplog
):
    caplog.set_level("INFO", "sslbench")
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.1)
    process = hold("another")
    monkeypatch.setattr(locks, "STALE_SECONDS", 0.4)
    process.send_signal(signal.SIGSTOP)
    with alone(tmp_path / "lock", "packs a folder"):
        assert read_claim(tmp_path / "lock").is_from_here
    assert not (tmp_path / "lock").exists()
    told = f"waiting for another that packs a folder: process {process.pid} on "
    assert [told in line for line in caplog.messages] == [True]


@pytest.mark.parametrize("skew", [-120.0, 120.0])
def test_a_silent_machines_lock_is_taken_once(lock, skew, tmp_path, hold, soon_stale, monkeypatch):
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + skew)
    process = hold("another")
    process.send_signal(signal.SIGSTOP)
    assert is_held(tmp_path / "lock")

    def take(_):
        try:
            lock().acquire(outlast=True)
        except Held:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1
    assert read_claim(tmp_path / "lock").is_from_here
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=20) == LOST_EXIT_CODE
    assert is_held(tmp_path / "lock")


@pytest.mark.parametrize("content", [b"", b"123\n", b'{"token": "../x", "pid": 1}', b"\0" * 9999])
def test_what_is_no_claim_is_in_nobodys_way_for_long(lock, content, tmp_path, soon_stale):
    (tmp_path / "lock").write_bytes(content)
    is_held(tmp_path / "lock")
    lock().acquire()
    assert read_claim(tmp_path / "lock").pid == os.getpid()


def test_a_takeover_that_was_cut_short_is_no_end(lock, tmp_path, hold, soon_stale):
    process = hold("another")
    process.kill()
    claim = read_claim(tmp_path / "lock")
    (tmp_path / f"lock.{claim.token}").touch()  # who was about to has died of it
    lock().acquire(outlast=True)
    assert read_claim(tmp_path / "lock").is_from_here


def test_a_long_silence_by_the_clocks_is_an_end_for_who_looks_once(tmp_path, hold):
    hold("another").kill()
    assert is_held(tmp_path / "lock")
    then = time.time() - 2 * locks.LONG_GONE_SECONDS
    os.utime(tmp_path / "lock", (then, then))
    assert not is_held(tmp_path / "lock")


def test_a_lock_that_was_taken_meanwhile_is_not_given_back(lock, tmp_path):
    mine = lock()
    mine.acquire()
    (tmp_path / "lock").unlink()
    lock().acquire()
    mine.release()
    assert is_held(tmp_path / "lock")


def test_a_cells_state_is_read_off_its_folder(tmp_path):
    folder = CellFolder(tmp_path, "cell")
    with folder.locked():
        assert CellFolder(tmp_path, "cell").state() == "running"
    assert folder.state() == "missing"
    (folder.path / "settings.json").touch()
    assert folder.state() == "planned"
    (folder.path / "metrics.jsonl").touch()
    assert folder.state() == "interrupted"


def test_who_looks_at_a_cell_is_not_taken_for_who_trains_it(tmp_path):
    folder = CellFolder(tmp_path, "cell")
    with folder.locked():
        Record("cell", "done", {}).save(folder.path)
    with ThreadPoolExecutor(4) as pool:
        states = list(pool.map(lambda _: folder.state(), range(2000)))
    assert set(states) == {"done"}
