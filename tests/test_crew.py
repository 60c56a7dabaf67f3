"""How many cells of a sweep run at a time: by GPUs, cores and memory."""

import os
from dataclasses import replace

import pytest
from helpers import cells

from sslbench.cell.cell import Cell
from sslbench.machine import hardware, mps
from sslbench.machine.hardware import free_gpu_memory, num_gpus
from sslbench.machine.mps import PROGRAM
from sslbench.sweep import crew as crews
from sslbench.sweep.crew import ALL_CORES, Crew, assign, find_crew
from sslbench.sweep.plan import Job, Plan
from sslbench.sweep.preflight import Preflight


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU and 16 cores; returns what sets another one."""

    def be(gpus=1, cores=16, free=None):
        monkeypatch.setattr(crews, "num_gpus", lambda: gpus)
        monkeypatch.setattr(crews, "available_cores", lambda: cores)
        monkeypatch.setattr(crews, "free_gpu_memory", lambda: free)

    be()
    return be


@pytest.fixture(scope="module")
def settings(outputs):
    return cells.make_cell(outputs, "threads=null", "precision=fp32", cells.SMALL).settings


def crew_of(settings, number=9, n_jobs=ALL_CORES):
    """Find the crew of a sweep, and what its cells are assigned: how many on a GPU, threads."""
    found = [Cell(replace(settings, seed=seed), dict) for seed in range(number)]
    plan = Plan([Job(cell, []) for cell in found], number)
    crew = find_crew(plan, n_jobs, Preflight())
    assign(plan, crew)
    assigned = [job.cell.settings for job in plan.jobs]
    ((per_device, threads),) = {(each.cells_per_device, each.threads) for each in assigned}
    return crew, per_device, threads


def test_a_gpu_takes_cells_by_cores_and_at_most_four(machine, settings):
    assert crew_of(settings) == (Crew(4, 1, 4), 4, 1)
    assert crew_of(settings, number=3)[0] == Crew(3, 1, 3)
    assert crew_of(settings, n_jobs=1)[0] == Crew(1, 1, 1)
    assert crew_of(settings, n_jobs=2)[0] == Crew(2, 1, 2)
    assert crew_of(replace(settings, cells_per_device=6)) == (Crew(6, 1, 6), 6, 1)
    assert crew_of(replace(settings, device="cpu"))[0] == Crew(16)
    machine(gpus=2, cores=12)
    assert crew_of(settings)[0] == Crew(6, 2, 3)
    machine(gpus=2, cores=2)
    assert crew_of(settings)[0] == Crew(2, 2, 1)
    machine(gpus=0, cores=2)
    assert crew_of(settings)[0] == Crew(2)


def test_threads_are_the_cores_divided_and_at_most_openmps_variable(machine, settings, monkeypatch):
    for allowed, n_jobs, threads in ((16, ALL_CORES, 4), (2, ALL_CORES, 2), (16, 1, 16)):
        monkeypatch.setattr(crews, "allowed_threads", lambda allowed=allowed: allowed)
        assert crew_of(settings, n_jobs=n_jobs)[2] == threads
    assert crew_of(replace(settings, threads=5))[2] == 5


def test_and_by_the_memory_that_like_cells_took_or_will(machine, settings, tmp_path):
    settings = replace(settings, outputs=str(tmp_path))
    machine(free=2_000_000_000)
    assert crew_of(settings)[1] == 2  # by what a step takes
    done = Cell(replace(settings, seed=100), dict)
    done.save_request()
    runtime = {"train_seconds": 1.0, "total_seconds": 2.0, "peak_memory_bytes": 10**10}
    machine(free=30 * 10**9)
    for device, per_device in (("cpu", 4), ("cuda:0", 2)):
        more = {"results": {"steps": 5}, "runtime": runtime | {"device": device}}
        cells.save_record(done.folder.path, "done", **more)
        assert crew_of(settings)[1] == per_device
    machine(free=10**9)
    assert crew_of(settings)[1] == 1


def test_gpus_and_their_memory_are_those_that_are_visible(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked\necho 7000\necho 3000\n'
    )
    (tmp_path / "nvidia-smi").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(hardware.Path, "glob", lambda *_: ["gpu"] * 4)
    for visible, number in (("0,2", 2), ("", 0), ("1,-1,2", 1), ("GPU-3", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert num_gpus() == number
    assert free_gpu_memory() == 3000 * 2**20
    assert "--id=GPU-3" in (tmp_path / "asked").read_text()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert num_gpus() == 4
    monkeypatch.setenv("PATH", "/nowhere")
    assert free_gpu_memory() is None


def test_a_daemon_that_is_insisted_on_must_be_there(machine, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(mps, "USUAL", tmp_path / "none")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match=f"gpu_sharing=mps: there is no {PROGRAM} here"):
        crew_of(replace(settings, gpu_sharing="mps"))
    machine(gpus=0)
    with pytest.raises(ValueError, match="gpu_sharing=mps: there is no GPU"):
        crew_of(replace(settings, gpu_sharing="mps"))
