"""Calls that this process and others share."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sslbench.machine import calls
from sslbench.machine.calls import Call, help_with, processes_ended

PARENT = "SSLBENCH_TEST_PARENT"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(calls, "allowed_threads", lambda: 2)
    monkeypatch.setenv(PARENT, str(os.getpid()))
    with processes_ended():
        yield


def process_of(number):
    if number < 0:
        raise ValueError(f"{number}: below zero")
    return number, os.getpid()


def is_elsewhere(path):
    """Whether another process makes the call; if so a file says so."""
    if os.getpid() == int(os.environ[PARENT]):
        return False
    path.touch()
    return True


def die_elsewhere(path, number):
    if is_elsewhere(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def local(path, number):
    is_elsewhere(path)
    return lambda: number  # which cannot be pickled


def linger(path):
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_another_process_begins_calls_and_this_one_helps():
    own = os.getpid()
    while (other := Call(process_of, 0).result()[1]) == own:
        time.sleep(0.01)  # this one took it back before the other had begun
    begun = [Call(process_of, number) for number in range(-1, 40)]
    help_with(begun)
    with pytest.raises(ValueError, match="-1: below zero"):
        begun[0].result()
    numbers, processes = zip(*(call.result() for call in begun[1:]), strict=True)
    assert numbers == tuple(range(40))
    assert set(processes) <= {own, other}
    assert processes[-1] == own, "the last is what this process begins with"


@pytest.mark.parametrize("function", [die_elsewhere, local])
def test_what_is_not_answered_is_made_here(function, tmp_path):
    while not (tmp_path / "begun").exists():
        begun = [Call(function, tmp_path / "begun", number) for number in range(3)]
        found = [call.result() for call in begun]
    assert [each() if callable(each) else each for each in found] == [0, 1, 2]


def test_without_a_process_all_calls_are_made_here(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere")
    begun = [Call(process_of, number) for number in range(3)]
    time.sleep(0.1)  # in which it is tried in vain
    assert [call.result() for call in begun] == [(number, os.getpid()) for number in range(3)]


def test_no_process_is_left_at_the_end(tmp_path):
    path = tmp_path / "process"
    Call(linger, path)
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)
    with processes_ended():
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


def test_python_ends_while_a_process_is_started():
    code = "from sslbench.machine.calls import Call; Call(len, 'abc')"
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
