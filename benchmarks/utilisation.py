"""How busy the GPU is meanwhile, as nvidia-smi says it each half second."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

PERIOD_SECONDS = 0.5
QUERY = ("nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class Sample(NamedTuple):
    """The share of the last moment in which a kernel ran, 0 to 1, at a time since the epoch."""

    at: float
    share: float


@contextmanager
def sampled_utilisation() -> Iterator[list[Sample]]:
    """Yield a list that fills with samples of the first GPU; it stays empty without nvidia-smi."""
    samples: list[Sample] = []
    over = threading.Event()

    def sample() -> None:
        # Asked anew each time: what a running nvidia-smi writes to a pipe may stay in its buffer.
        while not over.wait(PERIOD_SECONDS):
            said = subprocess.run(QUERY, capture_output=True, text=True).stdout
            with suppress(ValueError):  # [N/A] where the driver does not know
                samples.append(Sample(time.time(), float(said) / 100))

    thread = threading.Thread(target=sample, daemon=True)
    if shutil.which(QUERY[0]) is not None:
        thread.start()
    try:
        yield samples
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


def mean_during(samples: list[Sample], spans: list[tuple[float, float]]) -> float | None:
    """Return the mean over spans of time of their mean utilisation; None if none has a sample."""
    found = [[it.share for it in samples if began <= it.at <= ended] for began, ended in spans]
    means = [sum(shares) / len(shares) for shares in found if shares]
    return sum(means) / len(means) if means else None
