"""How many cores there are for this process, and how many threads it may use at once."""

import os
from collections.abc import Iterator
from contextlib import suppress

from sslbench.machine.cgroups import group_folders

LEAST_THREADS, THREADS_PER_CORE = 64, 4
"""How many are allowed anywhere, and on each core."""
OF_THIS_PROCESS = "OMP_NUM_THREADS"
POOLS = (
    OF_THIS_PROCESS,
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TORCHINDUCTOR_COMPILE_THREADS",
)
"""Variables that libraries read when they are loaded, their own before the first."""


def available_cores() -> int:
    """Cores for the processes of a command: of affinity, Slurm and the container the least."""
    found = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        found = [len(os.sched_getaffinity(0))]
    with suppress(KeyError, ValueError):
        found.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    return max(1, min([*found, *_of_containers()]))


def _of_containers() -> Iterator[int]:
    """Yield the whole cores that groups are allowed, in version 2 and in version 1."""
    for folder in group_folders("cpu"):
        with suppress(OSError, ValueError):  # `max` is no number: no limit
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) // int(period)
        with suppress(OSError, ValueError):
            quota, period = (
                int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")
            )
            if quota > 0:
                yield quota // period


def allowed_threads() -> int:
    """Threads that a pool of this process may have: one for each core, or OMP_NUM_THREADS.

    That variable is about one process, so it does not bound the workers of a sweep.
    """
    with suppress(KeyError, ValueError):
        threads = int(os.environ[OF_THIS_PROCESS].partition(",")[0])  # more are for nested pools
        if threads > 0:
            return min(threads, available_cores())
    return available_cores()


def require_threads(threads: int | None) -> None:
    """Refuse threads without number: the system's limit on them ends the process without a word.

    Raises:
        ValueError: With how many are allowed.
    """
    most = max(LEAST_THREADS, THREADS_PER_CORE * available_cores())
    if threads is not None and threads > most:
        raise ValueError(
            f"threads={threads}: at most {most} are allowed on the {available_cores()} cores here; "
            "leave threads out for one on each core"
        )


def limit_pools(threads: int) -> None:
    """Let no pool of BLAS or OpenMP have more threads: of what is loaded now, or is later.

    The processes that this one starts inherit the limit.
    """
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(POOLS, str(threads)))
    threadpool_limits(threads)
