"""Makes a Python process one of another machine, whose clock is off and whose disk has no flock.

On PYTHONPATH; TEST_NODE is its name, TEST_CLOCK the seconds that its clock is ahead.
"""

import errno
import fcntl
import os
import socket
import time

clock, ahead, name = time.time, float(os.environ["TEST_CLOCK"]), os.environ["TEST_NODE"]


def refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


fcntl.flock = refuse
socket.gethostname = lambda: name
time.time = lambda: clock() + ahead

from sslbench.files import lock  # noqa: E402  it asks for the name

lock.HEARTBEAT_SECONDS, lock.STALE_SECONDS = 1.0, 20.0
