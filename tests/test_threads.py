"""Cores and threads: what bounds them, and that every pool keeps to them."""

import json
import os
import subprocess
import sys

import pytest
from helpers.commands import PARTS, TINY, environment, train_here
from threadpoolctl import threadpool_info

from sslbench.machine import cgroups
from sslbench.machine.threads import POOLS, allowed_threads, available_cores
from sslbench.report import main

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_bounds_the_cores():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores() == allowed_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.fixture
def eight_cores(monkeypatch, tmp_path):
    """A machine of eight cores, where nobody has set a limit yet; returns its groups' folder."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in (*POOLS, "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path)
    return tmp_path


def group(line, monkeypatch):
    """Let this process be in a group."""
    read_text = cgroups.Path.read_text

    def read(path, *arguments):
        return f"{line}\n" if str(path) == "/proc/self/cgroup" else read_text(path, *arguments)

    monkeypatch.setattr(cgroups.Path, "read_text", read)


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "350000 100000"}, 3),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/pod/box", {"pod/cpu.max": "200000 100000", "pod/box/cpu.max": "max 100000"}, 2),
        ("4:cpu,cpuacct:/box", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}, 8),
        ("4:cpu,cpuacct:/x", {"cpu/cpu.cfs_quota_us": "400", "cpu/cpu.cfs_period_us": "100"}, 4),
        ("4:memory:/", {"cpu/cpu.cfs_quota_us": "400", "cpu/cpu.cfs_period_us": "100"}, 8),
    ],
)
def test_a_containers_limit_bounds_the_cores(line, files, cores, eight_cores, monkeypatch):
    group(line, monkeypatch)
    for name, contents in files.items():
        (eight_cores / name).parent.mkdir(parents=True, exist_ok=True)
        (eight_cores / name).write_text(f"{contents}\n")
    assert available_cores() == allowed_threads() == cores


def test_slurm_bounds_the_cores_and_openmps_variable_the_threads_alone(eight_cores, monkeypatch):
    assert available_cores() == allowed_threads() == 8
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert available_cores() == allowed_threads() == 4
    for value, threads in (("3", 3), ("2,1", 2), ("64", 4), ("many", 4), ("0", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert (available_cores(), allowed_threads()) == (4, threads)


POOLS_OF_ALL = """
import json, sys
if sys.argv[1] == "before":
    import scipy.linalg, sklearn.linear_model
from sslbench.engine.device import use_threads
use_threads(int(sys.argv[2]))
import scipy.linalg, sklearn.linear_model, threadpoolctl, torch
found = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
print(json.dumps([*found, torch.get_num_threads(), torch.get_num_interop_threads()]))
"""


@pytest.mark.parametrize(
    ("loaded", "typed", "variable"),
    [("after", 1, str(CORES)), pytest.param("before", CORES, "1", marks=pytest.mark.slow)],
)
def test_every_pool_keeps_to_the_threads_that_are_typed(loaded, typed, variable, tmp_path):
    env = environment(tmp_path) | dict.fromkeys(POOLS, variable)
    command = [sys.executable, "-c", POOLS_OF_ALL, loaded, str(typed)]
    found = json.loads(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert len(found) >= 5  # two of OpenMP and of BLAS each, and torch's
    assert set(found) == {typed}


@pytest.mark.slow
def test_a_sweeps_cell_keeps_to_them_while_it_fits_a_probe(tmp_path):
    command = (*TINY, "method=barlow", "steps=2", "method.eval_every=0.01", "optimizer=watched")
    more = {"env": {"OMP_NUM_THREADS": str(CORES)}}
    file = f"optimizer.file={tmp_path}/pools.json"
    result = train_here(tmp_path, "-m", *PARTS, *command, file, **more)
    assert result.returncode == 0, result
    found = json.loads((tmp_path / "pools.json").read_text())
    assert len(found) >= 4
    assert set(found) == {1}


def test_the_report_keeps_to_them(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(CORES))
    with pytest.raises(SystemExit) as left:
        main(["--outputs", str(tmp_path), "--threads", "1"])
    assert left.value.code == 0
    assert allowed_threads() == 1  # and of its workers
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}
