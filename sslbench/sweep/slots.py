"""GPUs shared among the cells of all sweeps on a machine, whoever started them."""

import errno
import logging
import os
import socket
import time
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Self

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
_given_up: list[socket.socket] = []


class Place:
    """Room for a cell on a device: held until all processes that have this object close it, or end.

    A place is a name among the kernel's abstract sockets: one cell has it at a time, of whatever
    user, and killed processes give it back. There is no file that another user could make first,
    link elsewhere, close to others or delete. Nobody ever connects to it. Who starts a process
    hands it an empty place, which that one fills: so both have it.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._socket not in _given_up:
            self._socket.close()

    def take(self, devices: Sequence[str], per_device: int) -> int:
        """Wait for a place on a device, and return the device's position in `devices`.

        Args:
            devices: Names that are the same for all programs on this machine, whichever devices
                are visible to them.
            per_device: Places on each.
        """
        places = list(product(range(per_device), enumerate(devices)))  # one on each device first
        waiting = False
        while True:
            for place, (device, name) in places:
                try:
                    if _bind(self._socket, f"\0sslbench-device-{name}-{place}".encode()):
                        return device
                except OSError as error:
                    device = os.getpid() % len(devices)
                    log.warning("GPUs cannot be shared out (%s): taking number %d", error, device)
                    return device
            if not waiting:
                log.info(
                    "all %d places on GPUs are taken by other cells; waiting for one "
                    "(device=cuda:0 takes that GPU without asking)",
                    len(places),
                )
                waiting = True
            time.sleep(POLL_SECONDS)

    def give_up(self, per_device: int) -> int | None:
        """Keep this place from all cells as long as this process lives, if others are beside it.

        Returns:
            How many places are left on its device, None if the cell was alone on it. The last one
            is never given up.
        """
        name = self._socket.getsockname()
        if not name:  # no place was taken
            return None
        device, _, _ = name.rpartition(b"-")
        taken = _count(b"%s-%d" % (device, number) for number in range(per_device))
        marks = [b"%s-given-up-%d" % (device, number) for number in range(1, per_device)]
        if taken - _count(marks) <= 1:
            return None
        for mark in marks:  # one for each place that is given up, so that two cannot be the last
            holder = socket.socket(socket.AF_UNIX)
            if _bind(holder, mark):
                _given_up.extend([self._socket, holder])
                break
            holder.close()
        return per_device - _count(marks)


def _bind(holder: socket.socket, name: bytes) -> bool:
    """Give a socket a name, unless another has it."""
    try:
        holder.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _count(names: Iterable[bytes]) -> int:
    """Count the names that are taken."""
    found = 0
    for name in names:
        with socket.socket(socket.AF_UNIX) as probe:
            found += not _bind(probe, name)
    return found
