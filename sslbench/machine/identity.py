"""Which machine this is, and which of its processes a number still names."""

import os
import socket
from functools import cache
from pathlib import Path

GONE = ("Z", "X")
"""States of a process that has ended, though its parent has not asked how."""


@cache
def this_machine() -> str:
    """Return what tells this machine, since its start, from others that share a folder with it.

    A container with process numbers of its own is another machine, as they mean nothing here.
    """
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    except OSError:  # no Linux
        pass
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks; None if there is none, or it has ended.

    A number is given again to later processes. Where the kernel does not tell, it is `?`.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0].decode() in GONE else fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:  # it is another user's
        pass
    return "?"
