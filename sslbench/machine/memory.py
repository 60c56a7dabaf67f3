"""How much memory and disk this process may still take."""

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sslbench.machine.cgroups import group_folders

LIMITS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Of a container, and what it holds: in version 2 of the kernel's groups, and in version 1."""
PAGE_CACHE = ("inactive_file", "active_file", "total_inactive_file", "total_active_file")


def available_memory() -> int | None:
    """Return the bytes that this process can still get, None where no one tells.

    The least of what the machine has, what its container may have, and its own limit.
    """
    found = [*_of_machine(), *_of_containers(), *_of_process()]
    return max(0, min(found)) if found else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_containers() -> Iterator[int]:
    for folder in group_folders("memory"):
        for limit, usage in LIMITS:
            with suppress(OSError, ValueError):  # not a number: no limit
                allowed = int((folder / limit).read_text())
                yield allowed - int((folder / usage).read_text()) + _page_cache(folder)


def _page_cache(folder: Path) -> int:
    """Return what the kernel gives back when memory is short."""
    with suppress(OSError, ValueError):
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        found = {name: int(value) for name, value in lines if name in PAGE_CACHE}
        # Version 1 tells of the group alone and, as `total_`, of those within it too.
        return max(
            sum(value for name, value in found.items() if name.startswith("total_") is total)
            for total in (False, True)
        )
    return 0


def _of_process() -> Iterator[int]:
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            yield allowed - pages * os.sysconf("SC_PAGE_SIZE")


def free_disk(path: Path) -> int | None:
    """Return the free bytes of the disk that holds a path, which need not exist yet."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def size(num_bytes: float) -> str:
    """Write bytes as a person would: `300 B`, `1.5 MB`, `2.0 GB`, `9e+03 TB`."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            number = num_bytes / factor
            return f"{number:.1f} {unit}" if number < 10_000 else f"{number:.0e} {unit}"
    return f"{num_bytes:.0f} B"
