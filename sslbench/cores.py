"""How many processor cores there are for this process, told without torch."""

import os


def available_cores() -> int:
    """Cores that this process may run on: under taskset or Slurm fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
