"""GPUs shared among the cells of all sweeps on a machine, whoever started them."""

import errno
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5


@contextmanager
def device_slot(devices: Sequence[str], per_device: int) -> Iterator[int]:
    """Wait for a place on a device and hold it; yields the device's position in `devices`.

    A place is a name among the kernel's abstract sockets: one process has it at a time, of whatever
    user, and a killed process gives it back. There is no file that another user could make first,
    link elsewhere, close to others or delete. Nobody ever connects to it.

    Args:
        devices: Names that are the same for all programs on this machine, whichever devices are
            visible to them.
        per_device: Places on each.
    """
    places = list(product(range(per_device), enumerate(devices)))  # one on each device first
    waiting = False
    while True:
        for place, (device, name) in places:
            with socket.socket(socket.AF_UNIX) as holder:
                try:
                    holder.bind(f"\0sslbench-device-{name}-{place}")
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        continue
                    device = os.getpid() % len(devices)
                    log.warning("GPUs cannot be shared out (%s): taking number %d", error, device)
                yield device
                return
        if not waiting:
            log.info(
                "all %d places on GPUs are taken by other cells; waiting for one (device=cuda:0 "
                "takes that GPU without asking)",
                len(places),
            )
            waiting = True
        time.sleep(POLL_SECONDS)
