"""Many cells in one sweep: memory, open files and time per cell stay flat, and they are found soon.

`python -m pytest -m slow tests/faults/test_load.py`; SSLBENCH_LOAD_CELLS sets their number.
"""

import os
import re
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.commands import TINY, records, start

NUMBER = int(os.environ.get("SSLBENCH_LOAD_CELLS", "1000"))
SECONDS_TO_FIND_300 = 15.0
GROWTH_BYTES, GROWTH_FILES, SLOWDOWN = 100_000_000, 8, 2.0
"""From the first fifth of a sweep to its last: of all its processes together, and of a cell."""


@dataclass(frozen=True)
class Sample:
    """A sweep at one time: when, how many cells were done, what its processes hold."""

    seconds: float
    num_done: int
    memory_bytes: int
    num_files: int


def grid(number: int) -> tuple[str, ...]:
    return ("-m", *TINY, "method=supervised", "steps=2", f"seed=range({number})")


def processes_of(session: int) -> list[Path]:
    """Return the folders in /proc of the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(words[3]) == session:
            found.append(folder)
    return found


def sample(session: int, cells: Path, began: float) -> Sample:
    """Look at a sweep; the cell's own process comes and goes, so it is left out."""
    memory = files = 0
    for folder in processes_of(session):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            grandparent = (Path("/proc") / str(parent) / "stat").read_text()
            if int(grandparent.rpartition(")")[2].split()[1]) == session:
                continue
            memory += int(re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1]) * 1024
            files += len(list((folder / "fd").iterdir()))
        except (OSError, TypeError):
            continue
    num_done = len(list(cells.glob("*/record.json")))
    return Sample(time.monotonic() - began, num_done, memory, files)


def watch(folder: Path, number: int) -> tuple[subprocess.Popen, list[Sample]]:
    """Run a sweep of so many cells, and look at it each time that one of them more is done."""
    began, seen = time.monotonic(), []
    process = start(folder, *grid(number))
    drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        now = sample(process.pid, folder / "outputs" / "cells", began)
        if now.num_done and now.memory_bytes and (not seen or now.num_done > seen[-1].num_done):
            seen.append(now)
        time.sleep(0.05)
    drain.wait()
    return process, seen


def fifths(seen: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of the second and of the last fifth; the first one warms up."""
    size = len(seen) // 5
    return seen[size : 2 * size], seen[-size:]


def seconds_per_cell(seen: list[Sample]) -> float:
    first, last = seen[0], seen[-1]
    return (last.seconds - first.seconds) / (last.num_done - first.num_done)


def seconds_to_find(folder: Path, number: int) -> float:
    """Return the processor's time, as others may be busy on it too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start(folder, *grid(number))
    output, _ = process.communicate()
    assert process.returncode == 0, output[-2000:]
    assert f"all {number} cells are done" in output
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize("number", [40, NUMBER])
def test_a_sweep_of_many_cells_stays_flat_and_finds_them_again(number, tmp_path):
    process, seen = watch(tmp_path, number)
    assert process.returncode == 0
    found = records(tmp_path)
    assert len(found) == number
    assert {record.status for record in found.values()} == {"done"}
    early, late = fifths(seen)
    growth = [
        statistics.median(getattr(it, name) for it in late)
        - statistics.median(getattr(it, name) for it in early)
        for name in ("memory_bytes", "num_files")
    ]
    slower = seconds_per_cell(late) / seconds_per_cell(early)
    seconds = seconds_to_find(tmp_path, number)
    print(
        f"\n{number} cells: {seconds_per_cell(seen):.2f} s each, last to first {slower:.2f},",
        end=" ",
    )
    print(f"memory {growth[0] / 1e6:+.0f} MB, files {growth[1]:+.0f}, found in {seconds:.1f} s")
    assert growth[0] < GROWTH_BYTES
    assert growth[1] <= GROWTH_FILES
    assert slower < SLOWDOWN
    start_seconds = 3.0  # of a command that finds few
    assert seconds < start_seconds + SECONDS_TO_FIND_300 * number / 300
