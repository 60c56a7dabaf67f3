"""The kernel's groups of processes, by which a container is kept to its share of a machine."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def group_folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups, and of those around them.

    Args:
        controller: `cpu` or `memory`; in version 1 of the groups each has a tree of its own.
    """
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds or controller in kinds.split(","):
                root = CGROUPS / controller if kinds else CGROUPS
                folder = root / path.lstrip("/")
                yield from (folder, *(it for it in folder.parents if it.is_relative_to(root)))
