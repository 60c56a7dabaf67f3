"""How many cells of a sweep run at a time, with how many threads, and how they share GPUs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import ceil
from typing import NamedTuple

from sslbench.cell.record import DONE
from sslbench.config.settings import AUTO, MPS, NONE
from sslbench.exit_codes import UsageError
from sslbench.machine.hardware import free_gpu_memory, num_gpus
from sslbench.machine.mps import PROGRAM, has_mps, mps_daemon, mps_of_user
from sslbench.machine.threads import allowed_threads, available_cores
from sslbench.sweep.estimate import gpu_bytes
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight

ALL_CORES = -1
"""joblib's default for `hydra.launcher.n_jobs`."""
MOST_WORKERS = 1024
MOST_CELLS, CORES_PER_CELL = 4, 2
"""On a GPU by `cells_per_device=auto`: three or four leave little of it idle, and each keeps one to
two cores busy."""


class Crew(NamedTuple):
    """The `workers` of a sweep, `per_device` on each of `num_gpus`, by one of `SHARINGS`."""

    workers: int
    num_gpus: int = 0
    per_device: int = 1
    sharing: str = AUTO
    threads: int | None = None
    """Of each cell, where an engine says; None: the cores here, divided among them."""

    @property
    def is_sharing(self) -> bool:
        """Whether there are several cells on a GPU."""
        return self.per_device > 1 and self.workers > self.num_gpus > 0

    @property
    def speedup(self) -> int:
        """How many times as fast a sweep is at least, beside one cell at a time."""
        return min(self.workers, self.num_gpus or self.workers)


def require_workers(n_jobs: int) -> None:
    """Refuse what is no number of workers.

    Raises:
        ValueError: With what may be asked for.
    """
    if n_jobs != ALL_CORES and not 1 <= n_jobs <= MOST_WORKERS:
        raise ValueError(
            f"hydra.launcher.n_jobs={n_jobs}: must be from 1 to {MOST_WORKERS}, or {ALL_CORES} for "
            "as many as GPUs or cores take"
        )


def find_crew(plan: Plan, n_jobs: int, preflight: Preflight) -> Crew:
    """Find how many cells run at a time.

    Args:
        n_jobs: How many are asked for, or `ALL_CORES`.

    Raises:
        ValueError: If `gpu_sharing=mps` is asked for, and not to be had.
    """
    settings = [job.cell.settings for job in plan.to_do() if job.cell.settings.device != "cpu"]
    gpus = num_gpus() if settings else 0
    sharings = {each.gpu_sharing for each in settings}
    sharing = next((it for it in (MPS, AUTO, NONE) if it in sharings), AUTO)
    if sharing == MPS and not (gpus and (has_mps() or mps_of_user())):
        raise ValueError(
            f"gpu_sharing=mps: there is no {PROGRAM if gpus else 'GPU of Nvidia'} here; take "
            "gpu_sharing=auto"
        )
    if not gpus:
        return Crew(available_cores() if n_jobs == ALL_CORES else n_jobs)
    numbers = [each.cells_per_device for each in settings if each.cells_per_device != AUTO]
    wanted = len(settings) if n_jobs == ALL_CORES else min(n_jobs, len(settings))
    per_device = max(numbers) if numbers else _number_that_fits(wanted, gpus, plan, preflight)
    return Crew(gpus * per_device if n_jobs == ALL_CORES else n_jobs, gpus, per_device, sharing)


def _number_that_fits(wanted: int, gpus: int, plan: Plan, preflight: Preflight) -> int:
    """Return how many of the cells wanted a GPU has room for, by the cores and its free memory."""
    fit = min(ceil(wanted / gpus), MOST_CELLS, available_cores() // (CORES_PER_CELL * gpus))
    if fit > 1:
        free, needed = free_gpu_memory(), gpu_bytes(plan, preflight)
        if free is not None and needed is not None:
            fit = min(fit, free // needed)
    return max(1, fit)


def assign(plan: Plan, crew: Crew) -> None:
    """Let cells that are not done have their part of the machine, unless their settings say."""
    here = min(allowed_threads(), max(1, available_cores() // crew.workers))
    threads = crew.threads or here
    for job in plan.jobs:
        if job.state != DONE:
            number = job.cell.settings.cells_per_device
            number = crew.per_device if number == AUTO else number
            job.cell = job.cell.with_threads(threads).run_with(cells_per_device=number)


@contextmanager
def gpus_shared(crew: Crew) -> Iterator[None]:
    """Let the cells that are started meanwhile share GPUs, and say how.

    Raises:
        UsageError: If `gpu_sharing=mps` is asked for, and does not start.
    """
    with ExitStack() as stack:
        if crew.is_sharing:
            told = _share(crew.sharing, stack)
            print(f"up to {crew.per_device} cells share a GPU, {told}", flush=True)
        yield


def _share(sharing: str, stack: ExitStack) -> str:
    """Start what lets cells compute side by side, and say how they share a GPU."""
    users = mps_of_user()
    if sharing == NONE or not (has_mps() or users):
        return "by turns"
    if users:
        return f"by the MPS control daemon in {users}"
    try:
        stack.enter_context(mps_daemon())
    except OSError as error:
        told = f"{PROGRAM} did not start ({error})"
        if sharing == MPS:
            raise UsageError(f"gpu_sharing=mps: {told}; take gpu_sharing=auto") from None
        return f"by turns: {told}"
    return "side by side by an MPS control daemon of this sweep's own"
