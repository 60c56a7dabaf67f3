"""GPUs shared among the cells of all sweeps on a machine."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 0.5


@contextmanager
def device_slot(
    devices: Sequence[str], per_device: int, folder: Path | None = None
) -> Iterator[int]:
    """Wait for a place on a device and hold it; yields the device's position in `devices`.

    A place is a locked file, so that a killed process gives it back.

    Args:
        devices: Names that are the same for all programs on this machine, whichever devices are
            visible to them.
        per_device: Places on each.
        folder: Where the files are; none: one for all users of this machine.
    """
    folder = folder or Path(tempfile.gettempdir()) / "sslbench-devices"
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # another user made it, and did this
        folder.chmod(0o777)
    places = list(product(range(per_device), enumerate(devices)))  # one on each device first
    while True:
        for place, (device, name) in places:
            lock = FileLock(folder / f"{name}-{place}.lock", mode=0o666)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        time.sleep(POLL_SECONDS)
