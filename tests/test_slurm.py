"""Sweeps on a Slurm of two nodes that this machine pretends to be: `pytest -m slurm`."""

import subprocess

import pytest
from helpers import slurm
from helpers.commands import PAPER, cells_in_training, environment, results, start
from helpers.slurm import run, wait_until

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import INTERRUPTED

pytest.importorskip("submitit", reason="needs the extra slurm")
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(slurm.missing() is not None, reason=f"{slurm.missing()}"),
]
STARTED = ("hydra.sweeper.only=[table2,ssl_init]",)
"""Of the paper's the three that others start from, and those three."""
SLURM = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null")
SLURM += ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")
FOUND_SECONDS = 30
"""After which a job that the queue has no more is submitted again, at the latest; told is 10."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def begin(folder, *more):
    clean = environment(folder)
    return start(folder, *PAPER, *SLURM, *more, env=clean | {"PYTHONUNBUFFERED": "1"})


def cells(folder):
    return [CellFolder(folder / "outputs", it.name) for it in folder.glob("outputs/cells/*")]


def job_of(cell):
    return cell.ticket("Slurm") or ""


class Sweep:
    """What a test does to the cells of a sweep, each to another one."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.cluster = cluster
        self.struck = []

    def in_training(self):
        """Wait for a cell in mid-training, another each time; return it, its job and its node."""
        found = []
        wait_until(lambda: found.extend(self._others()) or found)
        cell = found[0]
        self.struck.append(cell.cell_id)
        return cell, job_of(cell), self.cluster.node_of(job_of(cell))

    def _others(self):
        return [
            cell
            for cell in cells_in_training(self.folder)
            if cell.cell_id not in self.struck and self.cluster.node_of(job_of(cell)) != ""
        ]


def test_the_paper_whose_jobs_and_nodes_are_lost_ends_with_the_local_records(
    cluster, paper, tmp_path
):
    command, sweep = begin(tmp_path), Sweep(tmp_path, cluster)
    cancelled, job, _ = sweep.in_training()
    run("scancel", job)
    wait_until(lambda: cluster.node_of(job) == "")
    wait_until(lambda: job_of(cancelled) != job, FOUND_SECONDS)

    preempted, job, node = sweep.in_training()
    urgent = ("--partition=high", f"--nodelist={node}", "--cpus-per-task=2", "--output=/dev/null")
    run("sbatch", *urgent, "--wrap=sleep 20")
    wait_until(lambda: preempted.record() is not None)
    assert preempted.record().status == INTERRUPTED
    assert job_of(preempted) == job  # it is Slurm that queues it again

    lost, job, node = sweep.in_training()
    cluster.kill(node)
    wait_until(lambda: cluster.node_of(job) != node)
    cluster.start(node)

    _, _, node = sweep.in_training()
    run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    other = {"n1": "n2", "n2": "n1"}[node]
    wait_until(lambda: sweep.in_training()[2] == other)
    run("scontrol", "update", f"nodename={node}", "state=resume")

    output, _ = command.communicate(timeout=1800)
    assert command.returncode == 0, output
    assert f"{cancelled.cell_id}: has lost its process; started again" in output
    assert "all 18 cells are done" in output
    assert results(tmp_path) == paper
    logs = [(cell.path / "train.log").read_text() for cell in (cancelled, preempted, lost)]
    assert all("resumed after step" in log for log in logs)
    assert not (tmp_path / ".submitit").exists()


def test_what_is_submitted_and_left_is_collected_by_the_same_command(cluster, paper, tmp_path):
    sweep = begin(tmp_path, *STARTED, "hydra.sweeper.detach=true")
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert len(run("squeue", "--noheader", "--array").splitlines()) == 6
    states = {cell.state() for cell in cells(tmp_path)}
    assert "waiting" in states
    assert states <= {"waiting", "running"}
    run("scancel", next(job_of(it) for it in cells(tmp_path) if it.cell_id.startswith("semi-")))
    again = begin(tmp_path, *STARTED)
    output, _ = again.communicate(timeout=900)
    assert again.returncode == 0, output
    found = results(tmp_path)
    assert len(found) == 6
    assert found == {cell: paper[cell] for cell in found}


def test_what_slurm_refuses_is_said(cluster, tmp_path):
    sweep = begin(tmp_path, "hydra.launcher.partition=none")
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 2, output
    assert "Slurm: " in output
    assert "invalid partition" in output.lower()
    assert subprocess.run(["squeue", "-h"], capture_output=True).stdout == b""
