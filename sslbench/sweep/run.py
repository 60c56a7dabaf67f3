"""A sweep: plan every cell, then train what is to do, one process each."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

from sslbench.cell.folder import RUNNING, Busy
from sslbench.cell.record import BLOCKED, DONE, FAILED
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.processes import available_cores
from sslbench.sweep.estimate import estimate
from sslbench.sweep.live import live_overview
from sslbench.sweep.measure import Measurements
from sslbench.sweep.plan import Compose, Job, Plan, Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import exit_report, headline, outcome, plan_table

POLL_SECONDS = 1.0
SAVING_SECONDS, SAVING_POLL_SECONDS = 60.0, 0.1


def run_sweep(
    requests: Callable[[], list[list[str]]],
    compose: Compose,
    launch: Callable[[list[list[str]]], Any],
    *,
    workers: int,
    dry_run: bool,
    retry_failed: bool,
    retry_limit: int,
    skip_invalid: bool,
) -> None:
    """Plan the requested cells and train those that are to do.

    Args:
        requests: Returns the overrides of each cell.
        compose: Turns overrides into settings, and says what was chosen of the config groups.
        launch: Runs a job for each list of overrides, which name a cell by `cell=…`; returns when
            all have ended.

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
        threads=max(1, available_cores() // workers),
    )
    with Measurements() if dry_run else nullcontext() as measurements:
        try:
            plan = planner.plan(requests())
        except ValueError as error:
            raise UsageError(error) from None
        if measurements is not None:
            print(plan_table(plan, estimate(plan, preflight, measurements), workers))
            return
    print(headline(plan), flush=True)
    stopped = None

    def launch_saving(jobs: list[Job]) -> None:
        for job in jobs:
            job.cell.save_request()
        with _saving_before_interrupt(plan):
            launch([_overrides(job) for job in jobs])

    try:
        _train(plan, launch_saving)
    except KeyboardInterrupt:
        stopped = CellStopped(128 + signal.SIGINT)
    except CellStopped as by_signal:
        stopped = by_signal
    report = exit_report(plan)
    if report is None:
        print(f"all {len(plan.jobs)} cells are done", flush=True)
        return
    print(report, flush=True)
    raise stopped or CellStopped(1)


def _overrides(job: Job) -> list[str]:
    """Return what a worker composes to load a cell that is planned."""
    outputs = job.cell.settings.outputs.replace("\\", "\\\\").replace("'", "\\'")
    return [f"cell={job.cell.id}", f"outputs='{outputs}'"]


@contextmanager
def _saving_before_interrupt(plan: Plan) -> Iterator[None]:
    """Let Ctrl-C interrupt only when the running cells have saved; a second one acts at once.

    joblib, when it is interrupted, kills its workers with all that they started.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or previous is signal.SIG_IGN:
        yield
        return

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        workers = multiprocessing.active_children()
        for worker in workers:  # a terminal tells them too; `kill` does not
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGINT)
        if workers:
            _wait_for_running(plan)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _wait_for_running(plan: Plan) -> None:
    """Wait until the cells that run now have saved; they finish their step first."""
    running = [job.cell.folder for job in plan.to_do() if job.cell.folder.state() == RUNNING]
    deadline = time.monotonic() + SAVING_SECONDS
    while time.monotonic() < deadline and any(it.state() == RUNNING for it in running):
        time.sleep(SAVING_POLL_SECONDS)


def _train(plan: Plan, launch: Callable[[list[Job]], None]) -> None:
    """Train what is to do, parents first, and what another sweep leaves unfinished."""
    to_start = plan.to_do()
    elsewhere = [job for job in plan.jobs if job.state == RUNNING]
    announced = False
    with live_overview(plan):
        while to_start or elsewhere:
            pending = [*to_start, *elsewhere]
            free = [job for job in to_start if job.parent not in pending]
            to_start = [job for job in to_start if job not in free]
            ready = [job for job in free if not _blocked(job)]
            if ready:
                launch(ready)
                elsewhere += [job for job in ready if job.cell.folder.state() == RUNNING]
            elif not free:
                if not announced:
                    print(f"waiting for {len(elsewhere)} of another sweep's cells", flush=True)
                    announced = True
                time.sleep(POLL_SECONDS)
                ended = [job for job in elsewhere if job.cell.folder.state() != RUNNING]
                elsewhere = [job for job in elsewhere if job not in ended]
                finished = (DONE, FAILED)
                to_start += [job for job in ended if job.cell.folder.state() not in finished]


def _blocked(job: Job) -> bool:
    """Record a cell as blocked if the cell that it starts from did not finish."""
    if job.parent is None or job.parent.cell.folder.state() == DONE:
        return False
    message = f"{job.parent.cell.id} did not finish"
    try:
        with job.cell.folder.locked():
            record = job.cell.record(BLOCKED, error={"type": "Blocked", "message": message})
            record.save(job.cell.folder.path)
    except Busy:  # another sweep has found the parent done since
        return False
    print(outcome(job), flush=True)
    return True
