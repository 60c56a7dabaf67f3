"""A sweep: plan every cell, then train what is to do, one process each."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any

from sslbench.cell.folder import RUNNING, UNREADABLE, Busy, CellFolder
from sslbench.cell.record import BLOCKED, DONE, FAILED, Record
from sslbench.cell.soundness import state_of
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.machine.processes import ONE_STOP_SECONDS, handled
from sslbench.sweep.crew import assign, find_crew, gpus_shared, require_workers
from sslbench.sweep.estimate import estimate
from sslbench.sweep.isolated import RETRIES
from sslbench.sweep.live import live_overview
from sslbench.sweep.measure import Measurements
from sslbench.sweep.plan import Compose, Job, Plan, Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import exit_report, headline, outcome, plan_table
from sslbench.sweep.training import is_done

POLL_SECONDS = 1.0
Launch = Callable[..., Any]
SAVING_SECONDS, SAVING_POLL_SECONDS = 60.0, 0.1


def run_sweep(
    requests: Callable[[], list[list[str]]],
    compose: Compose,
    launch: Launch,
    *,
    n_jobs: int,
    dry_run: bool,
    retry_failed: bool,
    retry_limit: int,
    skip_invalid: bool,
) -> None:
    """Plan the requested cells and train those that are to do.

    Args:
        requests: Returns the overrides of each cell.
        compose: Turns overrides into settings, and says what was chosen of the config groups.
        launch: Runs a job for each list of overrides, which name a cell by `cell=…`, so many at a
            time; returns when all have ended.
        n_jobs: How many are asked for, or `ALL_CORES`.

    Raises:
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where a cell did not finish, 128 + n where signal n stopped them.
    """
    preflight = Preflight(may_download=not dry_run)
    planner = Planner(
        compose,
        preflight,
        retry_failed=retry_failed,
        retry_limit=retry_limit,
        skip_invalid=skip_invalid,
    )
    with Measurements() if dry_run else nullcontext() as measurements:
        try:
            require_workers(n_jobs)
            plan = planner.plan(requests())
            crew = find_crew(plan, n_jobs, preflight)
            assign(plan, crew)
        except ValueError as error:
            raise UsageError(error) from None
        if measurements is not None:
            print(plan_table(plan, estimate(plan, preflight, measurements), crew))
            return
    print(headline(plan), flush=True)
    stopped = None
    try:
        with gpus_shared(crew):
            _train(plan, partial(launch, workers=crew.workers), in_workers=crew.workers > 1)
    except CellStopped as by_signal:
        stopped = by_signal
    report = exit_report(plan)
    if report is None:
        print(f"all {len(plan.jobs)} cells are done", flush=True)
        return
    print(report, flush=True)
    raise stopped or CellStopped(1)


def _train(plan: Plan, launch: Launch, *, in_workers: bool) -> None:
    """Train what is to do, parents first, and what another sweep leaves unfinished."""
    stop = _Stop(plan, in_workers)
    to_start = plan.to_do()
    elsewhere = [job for job in plan.jobs if job.state == RUNNING]
    before = {job: job.cell.folder.readable_record() for job in [*to_start, *elsewhere]}
    announced, tries = False, 0
    with handled(stop), live_overview(plan):
        while to_start or elsewhere:
            pending = [*to_start, *elsewhere]
            free = [job for job in to_start if job.parent not in pending]
            to_start = [job for job in to_start if job not in free]
            ready = [job for job in free if not _blocked(job)]
            if ready:
                _launch(ready, launch, stop)
                held = [job for job in ready if job.cell.folder.state() == RUNNING]
                elsewhere += held
                left = [job for job in ready if job not in held and not _ended(job, before[job])]
                tries = tries + 1 if len(left) == len(ready) else 0
                if tries <= RETRIES:
                    to_start += left
                    for job in left:
                        print(f"{job.cell.id}: has lost its process; started again", flush=True)
            elif not free:
                if not announced:
                    print(f"waiting for {len(elsewhere)} of another sweep's cells", flush=True)
                    announced = True
                time.sleep(POLL_SECONDS)
                free_again = [job for job in elsewhere if job.cell.folder.state() != RUNNING]
                elsewhere = [job for job in elsewhere if job not in free_again]
                to_start += [job for job in free_again if not _ended(job, before[job])]


def _ended(job: Job, before: Record | None) -> bool:
    """Whether a cell has come to an end that this sweep has to accept, since there was `before`."""
    if job.cell.folder.state() == UNREADABLE:
        return True
    record = job.cell.folder.readable_record()
    return is_done(record) or (record is not None and record != before and record.status == FAILED)


def _blocked(job: Job) -> bool:
    """Record a cell as blocked if the cell that it starts from did not finish.

    A cell that another sweep has done meanwhile is left as it is.
    """
    if job.parent is None or is_done(job.parent.cell.folder.readable_record()):
        return False
    message = f"{job.parent.cell.id} did not finish"
    try:
        with job.cell.folder.locked():
            records = [each.cell.folder.readable_record() for each in (job, job.parent)]
            if any(map(is_done, records)):
                return False
            record = job.cell.record(BLOCKED, error={"type": "Blocked", "message": message})
            record.save(job.cell.folder.path)
    except Busy:  # another sweep has found the parent done since
        return False
    print(outcome(job), flush=True)
    return True


def _launch(jobs: list[Job], launch: Launch, stop: "_Stop") -> None:
    """Have jobs run; those that are lost with a worker have no new record afterwards."""
    for job in jobs:
        with suppress(Busy), job.cell.folder.locked():  # who has it has written it
            if state_of(job.cell, is_mine=True)[0] != DONE:
                job.cell.save_request()
    with stop.of_running(), suppress(BrokenExecutor):  # a worker was killed; joblib kills the rest
        launch([_overrides(job) for job in jobs])


def _overrides(job: Job) -> list[str]:
    """Return what a worker composes to load a cell that is planned."""
    outputs = job.cell.settings.outputs.replace("\\", "\\\\").replace("'", "\\'")
    return [f"cell={job.cell.id}", f"outputs='{outputs}'"]


class _Stop:
    """A handler that stops a sweep when the running cells have saved; a second signal does at once.

    joblib, when it is interrupted, kills its workers with all that they started.
    """

    def __init__(self, plan: Plan, in_workers: bool) -> None:
        self._plan = plan
        self._in_workers = in_workers
        self._came_at: float | None = None
        self._has_running = self._is_waiting = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        if self._came_at is None:
            self._came_at = time.monotonic()
            if self._in_workers and self._has_running:
                self._tell_workers()
                self._wait_for_running()
        elif time.monotonic() - self._came_at < ONE_STOP_SECONDS or not self._is_waiting:
            return  # it leaves already
        self._is_waiting = False
        raise CellStopped(128 + signal_number)

    def _tell_workers(self) -> None:
        for worker in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)

    def _wait_for_running(self) -> None:
        """Wait until the cells that run now have saved; they finish their step first."""
        self._is_waiting = True
        running = [job.cell.folder for job in self._plan.to_do()]
        deadline = time.monotonic() + SAVING_SECONDS
        while time.monotonic() < deadline and (running := [*filter(_runs_here, running)]):
            time.sleep(SAVING_POLL_SECONDS)

    @contextmanager
    def of_running(self) -> Iterator[None]:
        """Say that cells run meanwhile; a worker that is told to stop does not stop the sweep."""
        self._has_running = True
        try:
            yield
        except CellStopped:
            if self._came_at is not None or not self._in_workers:
                raise
        finally:
            self._has_running = False


def _runs_here(folder: CellFolder) -> bool:
    """Whether a process of this sweep has a cell, rather than one of another sweep."""
    if folder.state() != RUNNING:
        return False
    try:
        return os.getpgid(folder.holder()) == os.getpgrp()
    except ProcessLookupError:  # it has left meanwhile
        return False
