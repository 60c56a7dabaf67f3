"""Who runs a sweep's cells: this machine, or an engine such as Slurm or Ray on many."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from math import ceil
from typing import Any, Protocol

from sslbench.sweep.crew import Crew, find_crew, require_workers
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight

Launch = Callable[[list[list[str]], int], Any]


class Refused(Exception):
    """An engine takes no more cells; the message is its own."""


class Engine(Protocol):
    """Takes lists of overrides, which name a cell each, and has them run somewhere."""

    name: str
    num_gpus: int
    """Of each cell, if the engine says; 0: those of this machine, or none."""
    poll_seconds: float
    outlives_sweep: bool
    """Whether it goes on with what it has when the sweep's process ends."""

    def find_crew(self, plan: Plan, preflight: Preflight) -> Crew:
        """Return how many cells run at a time, and with how many threads each.

        Raises:
            ValueError: If what is asked for is not to be had.
        """

    def room(self, num_running: int, num_awaited: int) -> int | None:
        """Return how many more cells it is to be given at a time; None: any number.

        Args:
            num_awaited: How many of those that are left, the first of them, others start from.
        """

    def start(self, jobs: Sequence[list[str]], after: str | None = None) -> list[str]:
        """Take jobs, and return a ticket for each; one that runs them here returns at their end.

        Args:
            after: Ticket of a job that has to end first, of an engine that outlives the sweep.

        Raises:
            Refused: If it takes none of them.
        """

    def still_has(self, tickets: Collection[str]) -> set[str]:
        """Return the tickets of jobs that wait or run; all, where it cannot be asked now."""


class Here:
    """This machine, by a launcher that returns when all of its jobs have ended."""

    name, num_gpus, poll_seconds, outlives_sweep = "this machine", 0, 0.0, False

    def __init__(self, launch: Launch, n_jobs: int) -> None:
        self._launch = launch
        self._n_jobs = n_jobs
        self._workers = 1

    def find_crew(self, plan: Plan, preflight: Preflight) -> Crew:
        require_workers(self._n_jobs)
        crew = find_crew(plan, self._n_jobs, preflight)
        self._workers = crew.workers
        return crew

    def room(self, num_running: int, num_awaited: int) -> int | None:
        # It returns at the end of all: what others wait for goes first, and keeps all workers busy.
        return ceil(num_awaited / self._workers) * self._workers or None

    def start(self, jobs: Sequence[list[str]], after: str | None = None) -> list[str]:
        with suppress(BrokenExecutor):  # a worker was killed; joblib kills the rest
            self._launch(list(jobs), self._workers)
        return [""] * len(jobs)

    def still_has(self, tickets: Collection[str]) -> set[str]:
        return set()
