"""Sweeps on a Slurm of two nodes that this machine pretends to be: `pytest -m slurm`."""

import json
import subprocess

import pytest
from helpers import slurm
from helpers.commands import TINY, environment, records, start, train_here
from helpers.slurm import run, wait_until

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import DONE

pytest.importorskip("submitit", reason="needs the extra slurm")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=f"{slurm.missing()}"),
]
GRID = ("-m", *TINY, "method=semi", "init.from=barlow", "steps=150", "seed=0,1,2")
SLURM = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null")
SLURM += ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def begin(folder, *more):
    clean = environment(folder)
    return start(folder, *GRID, *SLURM, *more, env=clean | {"PYTHONUNBUFFERED": "1"})


def cells(folder, method):
    """Return the cells of a method by their seeds."""
    found = (folder / "outputs" / "cells").glob(f"{method}-*")
    return [CellFolder(folder / "outputs", path.name) for path in sorted(found)]


def is_in_training(cell):
    curves = cell.path / "metrics.jsonl"
    return curves.exists() and curves.read_text().count("\n") > 4


def job_of(cell):
    return json.loads((cell.path / ".queued").read_text())["job"]


def results(folder):
    return {name: (it.status, it.results) for name, it in records(folder).items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = train_here(folder, *GRID)
    assert result.returncode == 0, result
    return results(folder)


def test_a_sweep_whose_jobs_and_nodes_are_lost_ends_with_the_local_records(
    cluster, undisturbed, tmp_path
):
    sweep = begin(tmp_path)
    wait_until(lambda: len(cells(tmp_path, "barlow")) == 3)
    first, second, third = cells(tmp_path, "barlow")
    wait_until(lambda: is_in_training(first))
    run("scancel", job_of(first))
    wait_until(lambda: is_in_training(second) and cluster.node_of(job_of(second)))
    node = cluster.node_of(job_of(second))
    urgent = ("--partition=high", f"--nodelist={node}", "--cpus-per-task=2", "--output=/dev/null")
    run("sbatch", *urgent, "--wrap=sleep 20")
    wait_until(lambda: is_in_training(third) and cluster.node_of(job_of(third)))
    node = cluster.node_of(job_of(third))
    cluster.kill(node, job_of(third))
    wait_until(lambda: cluster.node_of(job_of(third)) == "")
    cluster.start(node)
    other = {"n1": "n2", "n2": "n1"}[node]
    run("scontrol", "update", f"nodename={other}", "state=drain", "reason=test")
    wait_until(lambda: len([*filter(is_in_training, cells(tmp_path, "semi"))]) > 0)
    run("scontrol", "update", f"nodename={other}", "state=resume")
    output, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 0, output
    assert f"{first.cell_id}: has lost its process; started again" in output
    assert results(tmp_path) == undisturbed
    logs = [(cell.path / "train.log").read_text() for cell in (first, second, third)]
    assert all("resumed after step" in log for log in logs)
    assert not (tmp_path / ".submitit").exists()


def test_what_is_submitted_and_left_is_collected_by_the_same_command(
    cluster, undisturbed, tmp_path
):
    sweep = begin(tmp_path, "hydra.sweeper.detach=true")
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert len(run("squeue", "--noheader", "--array").splitlines()) == 6
    states = {cell.state() for method in ("barlow", "semi") for cell in cells(tmp_path, method)}
    assert "waiting" in states
    assert states <= {"waiting", "running"}
    killed = job_of(cells(tmp_path, "semi")[0])
    run("scancel", killed)
    again = begin(tmp_path)
    output, _ = again.communicate(timeout=900)
    assert again.returncode == 0, output
    assert results(tmp_path) == undisturbed
    assert {it.status for it in records(tmp_path).values()} == {DONE}


def test_what_slurm_refuses_is_said(cluster, tmp_path):
    sweep = begin(tmp_path, "hydra.launcher.partition=none")
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 2, output
    assert "Slurm: " in output
    assert "invalid partition" in output.lower()
    assert subprocess.run(["squeue", "-h"], capture_output=True).stdout == b""
