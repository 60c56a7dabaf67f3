"""A sweep: plan every cell, then train what is to do, one process each."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from sslbench.cell.folder import RUNNING, Busy
from sslbench.cell.record import BLOCKED, DONE, FAILED, Record, settings_to_dict
from sslbench.config.settings import Settings
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.sweep.estimate import Estimator
from sslbench.sweep.plan import Plan, PlannedCell, Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import exit_report, headline, live_overview, outcome, plan_table

POLL_SECONDS = 1.0
SAVING_SECONDS, SAVING_POLL_SECONDS = 60.0, 0.1


@dataclass(frozen=True)
class SweepOptions:
    """What `hydra.sweeper` and the launcher say about a sweep."""

    workers: int
    dry_run: bool
    probe: bool
    retry_failed: bool
    retry_limit: int


def run_sweep(
    requests: Callable[[], list[list[str]]],
    compose: Callable[[list[str]], Settings],
    launch: Callable[[list[list[str]]], Any],
    options: SweepOptions,
) -> None:
    """Plan the requested cells and train those that are to do.

    Args:
        requests: Returns the overrides of each cell.
        compose: Turns overrides into settings.
        launch: Runs a job for each list of overrides, and returns when all have ended.

    Raises:
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where a cell did not finish, 128 + n where signal n stopped them.
    """
    preflight = Preflight(may_download=not options.dry_run)
    planner = Planner(
        compose,
        preflight,
        retry_failed=options.retry_failed,
        retry_limit=options.retry_limit,
    )
    try:
        plan = planner.plan(requests())
    except ValueError as error:
        raise UsageError(error) from None
    if options.dry_run:
        estimator = Estimator(plan.cells[0].settings.outputs, preflight, may_probe=options.probe)
        costs = {cell.cell_id: estimator.cost(cell.settings) for cell in plan.to_do()}
        print(plan_table(plan, costs, options.workers))
        return
    print(headline(plan), flush=True)
    stopped = None

    def launch_saving(jobs: list[list[str]]) -> None:
        with _saving_before_interrupt(plan):
            launch(jobs)

    try:
        _train(plan, launch_saving)
    except KeyboardInterrupt:
        stopped = CellStopped(128 + signal.SIGINT)
    except CellStopped as by_signal:
        stopped = by_signal
    report = exit_report(plan)
    if report is None:
        print(f"all {len(plan.cells)} cells are done", flush=True)
        return
    print(report, flush=True)
    raise stopped or CellStopped(1)


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
    running = [cell for cell in plan.to_do() if cell.folder.state() == RUNNING]
    deadline = time.monotonic() + SAVING_SECONDS
    while time.monotonic() < deadline and any(c.folder.state() == RUNNING for c in running):
        time.sleep(SAVING_POLL_SECONDS)


def _train(plan: Plan, launch: Callable[[list[list[str]]], None]) -> None:
    """Train what is to do, parents first, and what another sweep leaves unfinished."""
    to_start = plan.to_do()
    elsewhere = [cell for cell in plan.cells if cell.state == RUNNING]
    announced = False
    with live_overview(plan):
        while to_start or elsewhere:
            pending = {cell.cell_id for cell in [*to_start, *elsewhere]}
            free = [c for c in to_start if c.parent is None or c.parent.cell_id not in pending]
            to_start = [cell for cell in to_start if cell not in free]
            ready = [cell for cell in free if not _blocked(cell)]
            if ready:
                launch([cell.overrides for cell in ready])
                elsewhere += [cell for cell in ready if cell.folder.state() == RUNNING]
            elif not free:
                if not announced:
                    print(f"waiting for {len(elsewhere)} of another sweep's cells", flush=True)
                    announced = True
                time.sleep(POLL_SECONDS)
                ended = [cell for cell in elsewhere if cell.folder.state() != RUNNING]
                elsewhere = [cell for cell in elsewhere if cell not in ended]
                to_start += [cell for cell in ended if cell.folder.state() not in (DONE, FAILED)]


def _blocked(cell: PlannedCell) -> bool:
    """Record a cell as blocked if the cell that it starts from did not finish."""
    if cell.parent is None or cell.parent.folder.state() == DONE:
        return False
    try:
        with cell.folder.locked():
            Record(
                cell=cell.cell_id,
                status=BLOCKED,
                settings=settings_to_dict(cell.settings),
                error={"type": "Blocked", "message": f"{cell.parent.cell_id} did not finish"},
            ).save(cell.folder.path)
    except Busy:  # another sweep has found the parent done since
        return False
    print(outcome(cell), flush=True)
    return True
