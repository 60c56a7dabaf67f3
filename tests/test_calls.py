"""Calls that this process and others share."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from joblib import Parallel, delayed

from sslbench.machine import calls
from sslbench.machine.calls import Call, help_with, stop_calls

PARENT = "SSLBENCH_TEST_PARENT"


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(calls, "allowed_threads", lambda: 2)
    monkeypatch.setenv(PARENT, str(os.getpid()))
    yield
    stop_calls()


def process_of(number):
    if number < 0:
        raise ValueError(f"{number}: below zero")
    return number, os.getpid()


def die_elsewhere(number):
    if os.getpid() != int(os.environ[PARENT]):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


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


def test_lost_processes_do_not_matter():
    assert [call.result() for call in [Call(die_elsewhere, i) for i in range(3)]] == [0, 1, 2]


def test_joblib_has_processes_of_its_own():
    Call(process_of, 0).result()
    assert Parallel(2)(delayed(abs)(number) for number in (-1, -2)) == [1, 2]


def test_who_may_start_no_process_makes_all_calls(monkeypatch):
    """As a worker of `multiprocessing.Pool` is, which is a daemon."""
    stop_calls()
    monkeypatch.setattr(multiprocessing.current_process(), "daemon", True)
    begun = [Call(process_of, number) for number in range(3)]
    time.sleep(0.1)
    assert [call.result() for call in begun] == [(number, os.getpid()) for number in range(3)]


def test_python_ends_while_a_process_is_started():
    code = "from sslbench.machine.calls import Call; Call(len, 'abc')"
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
