"""Ten thousand cells on a hundred workers that fail, by the sweeper's own planning and state code.

    python -m benchmarks.scale --cells 10000 --workers 100

Only the cluster is made up: its clock, who runs on which worker, and how long that takes. The
command, the plan, the loop, cells' folders, records and locks are the sweeper's own. Workers crash
and lose what a cell did since its last checkpoint; cells are pre-empted, and save; jobs vanish from
the queue without a word; cells raise errors; the sweep's own process dies, and is started again.
"""

import argparse
import contextlib
import heapq
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch

from benchmarks.command import Table, command_parser, print_tables, scratch_folder
from sslbench.cell.cell import load_cell
from sslbench.cell.record import DONE, FAILED
from sslbench.cell.soundness import manifest
from sslbench.config.compose import compose_settings
from sslbench.sweep import run
from sslbench.sweep.crew import Crew
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight
from sslbench.train import main as train

RATIOS = ("1:1", "1:5", "1:20")
CELLS_A_SEED = 2 * len(RATIOS)
SMALL = "model.channels=8"
POLL_MINUTES = 1.0
MINUTES = {"barlow": 10.0, "semi": 30.0}
"""Of a cell, give or take a half."""
CHECKPOINTS, RESTART_MINUTES = 50, 1.0
"""Of a cell; and what it takes to be on its way again."""
HOURS_TO_A_CRASH, HOURS_TO_A_PREEMPTION = 24.0, 12.0
"""Of a worker, on average."""
LOST, FAULTY = 0.01, 0.01
"""Shares of goes that vanish from the queue, and that end by an error."""
MOST_COMMANDS = 8


class ParentDied(BaseException):
    """The sweep's own process is killed."""


@dataclass
class Tally:
    """In worker-minutes, but for counts."""

    clock: float = 0.0
    useful: float = 0.0
    wasted: float = 0.0
    goes: int = 0
    events: Counter[str] = field(default_factory=Counter)


class Cluster:
    """An engine whose queue goes on while no sweep looks at it, and whose clock is made up."""

    name, num_gpus, poll_seconds, outlives_sweep = "a made-up cluster", 0, 0.0, True

    def __init__(self, workers: int, draw: random.Random, weights: Path) -> None:
        self.tally = Tally()
        self.deaths: list[float] = []
        """When the sweep's process dies."""
        self._draw = draw
        self._free = workers
        self._workers = workers
        self._weights = weights
        """Of all cells: the plan reads those that others start from."""
        self._queue: list[tuple[float, str]] = []
        self._ends: list[tuple[float, str, str]] = []
        self._cells: dict[str, tuple[str, str]] = {}
        self._left: dict[str, float] = {}

    def find_crew(self, plan: Plan, preflight: Preflight) -> Crew:
        return Crew(self._workers, threads=1)

    def room(self, num_running: int, num_awaited: int) -> int | None:
        return None

    def start(self, jobs: Sequence[list[str]], after: str | None = None) -> list[str]:
        assert after is None
        tickets = []
        for job in jobs:
            cell_id, outputs = (word.partition("=")[2].strip("'") for word in job)
            tickets.append(f"{self.tally.goes}-{len(self._cells)}-{cell_id}")
            self._cells[tickets[-1]] = outputs, cell_id
            heapq.heappush(self._queue, (self.tally.clock, tickets[-1]))
        return tickets

    def still_has(self, tickets: Collection[str]) -> set[str]:
        self.tally.clock += POLL_MINUTES
        self._advance()
        if self.deaths and self.tally.clock >= self.deaths[0]:
            self.deaths.pop(0)
            raise ParentDied
        return self._cells.keys() & tickets

    def _advance(self) -> None:
        """Let time pass up to the clock's."""
        while True:
            while self._free and self._queue and self._queue[0][0] <= self.tally.clock:
                queued, ticket = heapq.heappop(self._queue)
                self._free -= 1
                self._begin(ticket, queued)
            if not self._ends or self._ends[0][0] > self.tally.clock:
                return
            now, ticket, how = heapq.heappop(self._ends)
            self._free += 1
            self._end(ticket, how, now)

    def _begin(self, ticket: str, now: float) -> None:
        """Draw how one go at a cell ends, and when."""
        _, cell_id = self._cells[ticket]
        now = max(now, self.tally.clock - POLL_MINUTES)
        whole = MINUTES[cell_id.partition("-")[0]]
        left = self._left.setdefault(cell_id, whole * self._draw.uniform(0.5, 1.5))
        self.tally.goes += 1
        chances = [("done", left)]
        for how, hours in (("crash", HOURS_TO_A_CRASH), ("preempt", HOURS_TO_A_PREEMPTION)):
            chances.append((how, self._draw.expovariate(1 / (60 * hours))))
        for how, share in (("lost", LOST), ("error", FAULTY)):
            if self._draw.random() < share:
                chances.append((how, self._draw.uniform(0, left)))
        how, minutes = min(chances, key=lambda it: it[1])
        step = whole / CHECKPOINTS
        kept = minutes if how in ("done", "preempt") else minutes // step * step
        self._left[cell_id] = left - kept
        self.tally.useful += kept
        self.tally.wasted += minutes - kept + RESTART_MINUTES
        heapq.heappush(self._ends, (now + minutes + RESTART_MINUTES, ticket, how))

    def _end(self, ticket: str, how: str, now: float) -> None:
        self.tally.events[how] += 1
        if how in ("crash", "preempt"):  # Slurm queues it again
            heapq.heappush(self._queue, (now, ticket))
            return
        outputs, cell_id = self._cells.pop(ticket)
        if how == "lost":
            return
        cell = load_cell(outputs, cell_id)
        with cell.folder.locked():
            if how == "error":
                before = cell.folder.readable_record()
                failures = 1 + (before.failures if before else 0)
                error = {"type": "Simulated", "message": "an error"}
                cell.record(FAILED, failures=failures, error=error).save(cell.folder.path)
                return
            accuracies = {split: {"accuracy": 0.5} for split in ("train", "val", "test")}
            weights = cell.folder.path / "best.pt"
            weights.unlink(missing_ok=True)
            weights.hardlink_to(self._weights)
            record = cell.record(DONE, results=accuracies | {"weights": "best.pt"})
            record.files = manifest(cell.folder.path)
            record.save(cell.folder.path)


def simulate(num_cells: int, workers: int, folder: Path) -> dict[str, float]:
    """Type the sweep's command until all cells are done; returns what that took."""
    model = compose_settings(["data=digits", SMALL]).model
    torch.save(model.build().state_dict(), folder / "weights.pt")
    cluster = Cluster(workers, random.Random(0), folder / "weights.pt")
    seeds = max(1, num_cells // CELLS_A_SEED)
    whole = seeds * CELLS_A_SEED * sum(MINUTES.values()) / len(MINUTES) / workers
    cluster.deaths = [whole / 3, whole / 2]
    arguments = ["-m", "data=digits", "tracking=off", "method=semi", "init.from=barlow", SMALL]
    arguments += [f"ratio={','.join(RATIOS)}", f"seed=range({seeds})", f"outputs={folder}"]
    commands, planning, began, of_cpu, code = 0, [], time.monotonic(), time.process_time(), 1
    run_sweep, headline = run.run_sweep, run.headline

    def with_cluster(*given: object, engine: object, **more: object) -> None:
        run_sweep(*given, engine=cluster, **more)

    def timed(plan: Plan) -> str:
        planning.append(time.monotonic() - started)
        return headline(plan)

    while code != 0 and commands < MOST_COMMANDS:
        commands, started = commands + 1, time.monotonic()
        with (
            mock.patch.object(run, "run_sweep", with_cluster),
            mock.patch.object(run, "headline", timed),
            mock.patch.object(sys, "argv", ["sslbench.train", *arguments]),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            try:
                train()
                code = 0
            except SystemExit as left:
                code = left.code
            except ParentDied:
                cluster.tally.events["death of the sweep"] += 1
    tally = cluster.tally
    total = tally.useful + tally.wasted
    return vars(tally) | {
        "cells": seeds * CELLS_A_SEED,
        "done": len([*(folder / "cells").glob("*/best.pt")]),
        "commands": commands,
        "wasted_share": tally.wasted / total,
        "makespan_hours": tally.clock / 60,
        "least_hours": total / workers / 60,
        "first_plan_seconds": planning[0],
        "later_plan_seconds": planning[-1],
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - of_cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = command_parser("scale", __doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cells, arguments.workers = 24, 4
    if arguments.part:
        print(json.dumps(simulate(arguments.cells, arguments.workers, Path(arguments.part))))
        return
    print_tables([table(arguments)], arguments)


def table(arguments: argparse.Namespace) -> Table:
    """Simulate in a process of its own, whose memory is the sweep's."""
    command = [sys.executable, "-m", "benchmarks.scale", f"--cells={arguments.cells}"]
    with scratch_folder() as folder:
        command += [f"--workers={arguments.workers}", "--part", str(folder)]
        found = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    result = json.loads(found.stdout.splitlines()[-1])
    told = {key: f"{it:,.4g}" if isinstance(it, float) else str(it) for key, it in result.items()}
    return Table("A sweep on a made-up cluster", ("what", "how much"), list(told.items()))


if __name__ == "__main__":
    main()
