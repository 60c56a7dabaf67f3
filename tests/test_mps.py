"""Cells of a sweep that compute side by side on a GPU: by which daemon, and how that ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import CURVES, JOBLIB, TINY, environment, share_digits, wait_for

from sslbench.machine import mps
from sslbench.machine.mps import LOGS, PIPES, PROGRAM
from sslbench.sweep.crew import Crew, gpus_shared

SHARING = Crew(2, 1, 2)
FAKE = """#!/bin/sh
if [ "$1" = -d ]
then
    [ -e {0}/refuse ] && echo "no permission" && exit 1
    stat -c "started %a" "$(dirname "$CUDA_MPS_PIPE_DIRECTORY")" >>{0}/told
else
    read word
    echo "$word" >>{0}/told
fi
echo "$CUDA_MPS_PIPE_DIRECTORY" >{0}/pipes
echo "${{CUDA_VISIBLE_DEVICES-all}}" >{0}/visible
"""


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """The folder of a control daemon's program that notes in `told` what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / PROGRAM).write_text(FAKE.format(folder))
    (folder / PROGRAM).chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setattr(mps, "USUAL", tmp_path / "none")
    monkeypatch.setattr(mps, "PROBE", "print(0)")  # there is no CUDA to ask
    return folder


def told(daemon):
    path = daemon / "told"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_a_sweep_has_a_daemon_of_its_own_while_cells_share_a_gpu(daemon, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with contextlib.suppress(KeyError), gpus_shared(SHARING):
        pipes = Path(os.environ[PIPES])
        assert pipes.parent.stat().st_mode & 0o777 == 0o700
        assert Path(os.environ[LOGS]).parent == pipes.parent
        assert len(f"{pipes}/control") < 108
        assert told(daemon) == ["started 700"]
        assert (daemon / "visible").read_text() == "all\n"  # numbers would be applied twice
        raise KeyError
    assert told(daemon) == ["started 700", "quit"]
    assert (daemon / "pipes").read_text() == f"{pipes}\n"
    assert PIPES not in os.environ
    assert not pipes.parent.exists()
    said = capsys.readouterr().out
    assert said == "up to 2 cells share a GPU, side by side by an MPS control daemon of this " + (
        "sweep's own\n"
    )


@pytest.mark.parametrize(
    ("crew", "variables", "said"),
    [
        (Crew(1, 1, 2), {}, ""),
        (Crew(2, 2, 2), {}, ""),
        (Crew(2, 1, 2, "none"), {}, "up to 2 cells share a GPU, by turns\n"),
        (SHARING, {"PATH": "/nowhere"}, "up to 2 cells share a GPU, by turns\n"),
        (
            SHARING,
            {PIPES: "/mine"},
            "up to 2 cells share a GPU, by the MPS control daemon in /mine\n",
        ),
    ],
)
def test_else_there_is_none(crew, variables, said, daemon, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with gpus_shared(crew):
        assert os.environ.get(PIPES) == variables.get(PIPES)
    assert capsys.readouterr().out == said
    assert told(daemon) == []


def test_a_daemon_that_does_not_start_costs_a_line_unless_it_is_insisted_on(daemon, capsys):
    (daemon / "refuse").touch()
    with gpus_shared(SHARING):
        assert PIPES not in os.environ
    assert f"by turns: {PROGRAM} did not start (no permission)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused, gpus_shared(Crew(2, 1, 2, "mps")):
        pass
    assert refused.value.code == 2
    assert told(daemon) == []


def test_nor_does_one_that_cuda_does_not_work_by(daemon, monkeypatch, capsys):
    monkeypatch.setattr(mps, "PROBE", "print(805)")
    with gpus_shared(SHARING):
        assert PIPES not in os.environ
        assert told(daemon) == ["started 700", "quit"]
    assert "did not start (CUDA's error 805)" in capsys.readouterr().out


WITH_GPU = (
    "from sslbench.machine import mps; mps.PROBE = 'print(0)'; "
    "from sslbench.sweep import crew; crew.num_gpus = lambda: 1; "
    "from sslbench.train import main; main()"
)


def start(folder):
    """Start a sweep of two endless cells that share a GPU, and wait until it says how."""
    share_digits(folder / "outputs")
    words = ("-m", *TINY, *JOBLIB, "cells_per_device=2", "steps=100000", "seed=0,1")
    sweep = subprocess.Popen(
        [sys.executable, "-c", WITH_GPU, *words],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while "share a GPU" not in (line := sweep.stdout.readline()):
        assert line, "it has ended"
    return sweep


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(it, marks=pytest.mark.slow) for it in (2, 15, 1))],
)
def test_the_daemon_ends_with_its_sweep_however_that_ends(number, daemon, tmp_path):
    sweep = start(tmp_path)
    os.killpg(sweep.pid, number)
    output, _ = sweep.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while told(daemon) != ["started 700", "quit"]:
        assert time.monotonic() < deadline, output
        time.sleep(0.05)
    while Path((daemon / "pipes").read_text().strip()).exists():
        assert time.monotonic() < deadline, output
        time.sleep(0.05)
    assert sweep.returncode == (-number if number == signal.SIGKILL else 128 + number), output


@pytest.mark.slow
def test_the_cells_of_a_sweep_find_its_daemon(daemon, tmp_path):
    sweep = start(tmp_path)
    wait_for(tmp_path, CURVES)
    variable = f"{PIPES}={(daemon / 'pipes').read_text().strip()}".encode()
    number = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(process.name)) == sweep.pid:
                number += variable in (process / "environ").read_bytes().split(b"\0")
    assert number >= 6  # two workers, the servers that they have, and the cells' processes
    os.killpg(sweep.pid, signal.SIGTERM)
    assert sweep.wait(60) == 143
