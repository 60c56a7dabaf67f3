"""The cores that this process may use, and worker processes that end with whoever started them."""

import multiprocessing
import os
import threading
import time

POLL_SECONDS = 0.5
LEAST_THREADS, THREADS_PER_CORE = 64, 4
"""How many are allowed anywhere, and on each core."""

_watched = threading.Event()


def available_cores() -> int:
    """Cores that this process may run on: under taskset or Slurm fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def exit_with_parent() -> None:
    """End this process when the one that started it dies, however that ends.

    A joblib worker would outlive it, and go on with its work. Nothing happens in a process that
    Python did not start for such work.
    """
    if _watched.is_set() or multiprocessing.parent_process() is None:
        return
    _watched.set()
    parent = multiprocessing.parent_process().pid

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
