"""Engines: what a sweep gives them and when, what they lose, what they still have the next time."""

import os
import signal
from pathlib import Path

import pytest
from helpers.cells import save_record
from helpers.commands import TINY, records, share_digits, start, train_here, wait_for

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import BLOCKED, DONE, FAILED, INTERRUPTED
from sslbench.config.compose import compose_settings
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.sweep.crew import Crew
from sslbench.sweep.engine import Here, Refused
from sslbench.sweep.run import run_sweep

CHILDREN = ["method=semi", "init.from=barlow"]
ACCURACIES = {split: {"accuracy": 0.5} for split in ("val", "test")}


class Queue:
    """An engine that outlives its sweeps; a test says how its jobs end, one a look."""

    name, num_gpus, poll_seconds, outlives_sweep = "a queue", 0, 0.0, True

    def __init__(self, outputs, *ends):
        self.outputs = outputs
        self.ends = list(ends)
        self.jobs = {}
        self.given = []
        self.refuses_after = None

    def find_crew(self, plan, preflight):
        return Crew(4, threads=1)

    def room(self, num_running, num_awaited):
        return None

    def start(self, jobs, after=None):
        if self.refuses_after is not None and len(self.given) >= self.refuses_after:
            raise Refused("too many jobs")
        cells = [job[0].removeprefix("cell=") for job in jobs]
        tickets = [f"{len(self.given) + number}" for number in range(len(cells))]
        self.jobs |= dict(zip(tickets, cells, strict=True))
        self.given += [
            (method(cell), method(self.jobs[after]) if after else None) for cell in cells
        ]
        return tickets

    def still_has(self, tickets):
        if self.jobs and self.ends:
            ticket = next(iter(self.jobs))
            self.end(ticket, self.ends.pop(0))
        return self.jobs.keys() & tickets

    def end(self, ticket, status):
        folder = self.outputs / "cells" / self.jobs.pop(ticket)
        if status is not None:
            error = {"type": "Test", "message": status} if status != DONE else None
            save_record(folder, status, results=ACCURACIES, error=error, failures=status == FAILED)


def method(cell):
    return cell.partition("-")[0]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Returns what runs a sweep on a queue whose cells of the same plan are those of two seeds."""
    outputs = tmp_path / "outputs"
    share_digits(outputs)
    monkeypatch.setattr("sslbench.cell.start.load_initial_encoder", lambda *_: None)

    def run(queue, *requests, **more):
        run_sweep(
            lambda: list(requests),
            lambda overrides: (compose_settings([*TINY, f"outputs={outputs}", *overrides]), {}),
            queue,
            **{"dry_run": False, "retry_failed": True, "retry_limit": 3, "skip_invalid": False},
            **more,
        )

    return run


def states(tmp_path):
    cells = sorted((tmp_path / "outputs" / "cells").iterdir())
    return {method(it.name): CellFolder(tmp_path / "outputs", it.name).state() for it in cells}


def test_a_child_is_started_when_its_parent_is_done_and_not_after_all_others(sweep, tmp_path):
    queue = Queue(tmp_path / "outputs", *[DONE] * 4)
    running = []
    start = queue.start

    def noted(jobs, after=None):
        running.append([method(cell) for cell in queue.jobs.values()])
        return start(jobs, after)

    queue.start = noted
    sweep(queue, ["seed=1"], CHILDREN, ["seed=2"])
    assert [given for given, _ in queue.given] == ["barlow", "supervised", "supervised", "semi"]
    assert running == [[], ["supervised", "supervised"]]


def test_on_this_machine_cells_that_others_wait_for_go_before_a_second_batch(sweep, tmp_path):
    queue, batches = Queue(tmp_path / "outputs"), []

    def launch(jobs, workers):
        batches.append([method(cell) for cell in map(queue.jobs.get, queue.start(jobs))])
        for ticket in [*queue.jobs]:
            queue.end(ticket, DONE)

    sweep(Here(launch, 2), ["seed=1"], CHILDREN, ["seed=2"])
    assert batches == [["barlow", "supervised"], ["supervised", "semi"]]


def test_what_a_queue_loses_is_given_again_and_what_failed_blocks(sweep, tmp_path, capsys):
    queue = Queue(tmp_path / "outputs", None, INTERRUPTED, FAILED)
    with pytest.raises(CellStopped):
        sweep(queue, CHILDREN)
    assert queue.given == [("barlow", None)] * 3
    assert states(tmp_path) == {"barlow": FAILED, "semi": BLOCKED}
    assert capsys.readouterr().out.count("has lost its process; started again") == 2


def test_a_sweep_may_leave_and_be_collected(sweep, tmp_path, capsys):
    queue = Queue(tmp_path / "outputs")
    sweep(queue, CHILDREN, ["seed=1"], detach=True)
    assert sorted(queue.given) == [("barlow", None), ("semi", "barlow"), ("supervised", None)]
    assert states(tmp_path) == dict.fromkeys(["barlow", "semi", "supervised"], "waiting")
    assert "a queue has the cells" in capsys.readouterr().out
    sweep(queue, CHILDREN, ["seed=1"], detach=True)
    assert len(queue.given) == 3  # none a second time
    lost = next(ticket for ticket, cell in queue.jobs.items() if method(cell) == "supervised")
    del queue.jobs[lost]
    queue.ends = [DONE, DONE, DONE]
    sweep(queue, CHILDREN, ["seed=1"])
    assert [given for given, _ in queue.given[3:]] == ["supervised"]
    out = capsys.readouterr().out
    assert "3 cells: 1 done, 1 to do, 1 waiting" in out  # it looks, and one ends
    assert out.endswith("all 3 cells are done\n")
    sweep(queue, CHILDREN, ["seed=1"], detach=True)
    assert capsys.readouterr().out.endswith("all 3 cells are done\n")


def test_what_an_engine_refuses_is_said(sweep, tmp_path, capsys):
    queue = Queue(tmp_path / "outputs")
    queue.refuses_after = 0
    with pytest.raises(UsageError):
        sweep(queue, ["seed=1"])
    assert "a queue: too many jobs" in capsys.readouterr().err
    queue.refuses_after = 1
    sweep(queue, CHILDREN, detach=True)
    out = capsys.readouterr().out
    assert "a queue takes no more: too many jobs\n1 cells were not handed over" in out


def test_cells_for_gpus_elsewhere_must_say_their_precision(sweep, tmp_path, capsys):
    queue = Queue(tmp_path / "outputs")
    queue.num_gpus = 1
    with pytest.raises(UsageError):
        sweep(queue, ["precision=auto"])
    assert "precision=bf16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hydra.sweeper.detach=true",), "hydra.sweeper.detach=true: this machine runs cells only"),
        (("hydra/launcher=slurm",), "pip install 'sslbench[slurm]'"),
        (("hydra/launcher=ray",), "pip install 'sslbench[ray]'"),
    ],
)
def test_what_is_not_to_be_had_is_refused(arguments, words, tmp_path):
    extra = words.partition("[")[2].partition("]")[0]
    if extra and is_installed({"slurm": "submitit", "ray": "ray"}[extra]):
        pytest.skip(f"the extra {extra} is installed")
    refused = train_here(tmp_path, "-m", *TINY, *arguments)
    assert (refused.returncode, words in refused.stderr) == (2, True), refused


def is_installed(package):
    from importlib.util import find_spec

    return find_spec(package) is not None


@pytest.mark.skipif(not is_installed("submitit"), reason="needs the extra slurm")
@pytest.mark.parametrize("notice", [signal.SIGUSR2, signal.SIGTERM])
def test_notice_saves_a_cell_of_submitit_which_is_queued_again(notice, tmp_path):
    command = ("-m", *TINY, "steps=40", "hydra/launcher=submitit_local")
    sweep = start(tmp_path, *command, "hydra.launcher.timeout_min=60")
    wait_for(tmp_path, "outputs/cells/*/last.pt")
    (lock,) = tmp_path.glob("outputs/cells/*/.lock")
    child = CellFolder(tmp_path / "outputs", lock.parent.name).holder()
    os.kill(job_above(child), notice)
    wait_for(tmp_path, "outputs/cells/*/record.json")
    assert [it.status for it in records(tmp_path).values()] == [INTERRUPTED]
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, output
    (record,) = records(tmp_path).values()
    assert record.status == DONE
    assert "resumed after step" in (lock.parent / "train.log").read_text()
    assert not (tmp_path / ".submitit").exists()


def job_above(pid):
    """Return the process of submitit's that a cell's process was started by."""
    while b"submitit.core._submit" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid
