"""GPUs shared among the cells of all sweeps on a machine."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 0.5


@contextmanager
def device_slot(num_devices: int, per_device: int, folder: Path | None = None) -> Iterator[int]:
    """Wait for a place on a device and hold it; yields the device's number.

    A place is a locked file, so that a killed process gives it back.
    """
    folder = folder or Path(tempfile.gettempdir()) / "sslbench-devices"
    folder.mkdir(mode=0o777, parents=True, exist_ok=True)
    while True:
        for place in range(num_devices * per_device):  # one cell on each device first
            lock = FileLock(folder / f"{place}.lock", mode=0o666)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield place % num_devices
            finally:
                lock.release()
            return
        time.sleep(POLL_SECONDS)
