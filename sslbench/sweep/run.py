"""A sweep: plan every cell, then have trained what is to do, one process each."""

from collections.abc import Callable
from contextlib import nullcontext

from sslbench.cell.record import DONE
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.sweep.crew import assign, gpus_shared
from sslbench.sweep.engine import Engine, Refused
from sslbench.sweep.estimate import estimate
from sslbench.sweep.loop import Loop, adopt
from sslbench.sweep.measure import Measurements
from sslbench.sweep.plan import Compose, Plan, Planner
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.present import exit_report, headline, plan_table


def run_sweep(
    requests: Callable[[], list[list[str]]],
    compose: Compose,
    engine: Engine,
    *,
    dry_run: bool,
    retry_failed: bool,
    retry_limit: int,
    skip_invalid: bool,
    detach: bool = False,
) -> None:
    """Plan the requested cells and train those that are to do.

    Args:
        requests: Returns the overrides of each cell.
        compose: Turns overrides into settings, and says what was chosen of the config groups.
        engine: Runs jobs, lists of overrides that name a cell by `cell=…`.
        detach: Leave when the engine has them.

    Raises:
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where a cell did not finish, 128 + n where signal n stopped them.
    """
    preflight = Preflight(may_download=not dry_run, on_gpus_elsewhere=engine.num_gpus > 0)
    planner = Planner(
        compose,
        preflight,
        retry_failed=retry_failed,
        retry_limit=retry_limit,
        skip_invalid=skip_invalid,
    )
    with Measurements() if dry_run else nullcontext() as measurements:
        try:
            if detach and not engine.outlives_sweep:
                raise ValueError(
                    f"hydra.sweeper.detach=true: {engine.name} runs cells only as long as the "
                    "sweep runs; take hydra/launcher=slurm, or leave it out"
                )
            plan = planner.plan(requests())
            adopt(plan, engine)
            crew = engine.find_crew(plan, preflight)
            assign(plan, crew)
        except ValueError as error:
            raise UsageError(error) from None
        if measurements is not None:
            print(plan_table(plan, estimate(plan, preflight, measurements), crew))
            return
    print(headline(plan), flush=True)
    loop, stopped = Loop(plan, engine, in_workers=crew.workers > 1), None
    try:
        if detach:
            _detach(loop, plan, engine)
            return
        with gpus_shared(crew):
            loop.train()
    except Refused as refused:
        raise UsageError(f"{engine.name}: {refused}") from None
    except CellStopped as by_signal:
        stopped = by_signal
    report = exit_report(plan)
    if report is None:
        print(f"all {len(plan.jobs)} cells are done", flush=True)
        return
    print(report, flush=True)
    if stopped and engine.outlives_sweep:
        print(f"what {engine.name} has goes on there; the same command waits for it", flush=True)
    raise stopped or CellStopped(1)


def _detach(loop: Loop, plan: Plan, engine: Engine) -> None:
    """Hand all cells over, and say how to see what becomes of them."""
    left = loop.hand_over()
    if left:
        print(f"{len(left)} cells were not handed over: the same command does so later", flush=True)
    if all(job.state == DONE for job in plan.jobs):
        print(f"all {len(plan.jobs)} cells are done", flush=True)
        return
    print(
        f"{engine.name} has the cells; python -m sslbench.report shows how they stand, and the "
        "same command, without hydra.sweeper.detach, waits for them and tries lost ones again",
        flush=True,
    )
