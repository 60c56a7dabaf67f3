"""What a person reads about a sweep: its plan, where it stands, and what failed."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sslbench.cells import RUNNING
from sslbench.files import read_curves
from sslbench.record import BLOCKED, DONE, FAILED, INTERRUPTED
from sslbench.sweep.estimate import Cost
from sslbench.sweep.plan import Plan, PlannedCell

REFRESH_SECONDS = 1.0
GIB = 2**30


def duration(seconds: float) -> str:
    """Write seconds as a person would: `42 s`, `12 min`, `3.5 h`, `2.1 d`."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def headline(plan: Plan) -> str:
    """Count the cells of a plan by their states."""
    counts = plan.counts()
    parts = [f"{number} {state}" for state, number in sorted(counts.items())]
    duplicates = plan.num_requested - len(plan.cells)
    if duplicates > 0:
        parts.append(f"{duplicates} asked for twice")
    return f"{len(plan.cells)} cells: " + ", ".join(parts)


def plan_table(plan: Plan, costs: dict[str, Cost | None], workers: int) -> str:
    """List every cell with its state and cost, and the total time of what is to do."""
    width = max(len(cell.cell_id) for cell in plan.cells)
    lines = [headline(plan), f"{'cell':{width}}  state    time      memory    from"]
    for cell in plan.cells:
        line = f"{cell.cell_id:{width}}  {cell.state:7}"
        cost = costs.get(cell.cell_id)
        if cost is not None:
            memory = f"{cost.memory_bytes / GIB:.1f} GiB"
            line += f"  {duration(cost.seconds):8}  {memory:8}  {cost.source}"
        lines.append(line)
    left = [cost for cell in plan.to_do() if (cost := costs.get(cell.cell_id)) is not None]
    if left:
        total = sum(cost.seconds for cost in left)
        peak = max(cost.memory_bytes for cost in left) / GIB
        lines.append(
            f"to do: {duration(total)} one after the other, at most {peak:.1f} GiB at a time"
        )
        if workers > 1:
            lines.append(f"with {workers} workers: about {duration(total / workers)}")
    return "\n".join(lines)


def outcome(cell: PlannedCell) -> str:
    """Say in a line or two how a cell of a sweep ended."""
    record = cell.folder.record()
    if record is None:
        return f"{cell.cell_id}: not run"
    if record.status == DONE:
        val, test = (record.results[split]["accuracy"] for split in ("val", "test"))
        return f"{cell.cell_id}: val {val:.2%}, test {test:.2%}"
    cause = f"{record.error['type']}: {record.error['message']}" if record.error else ""
    line = f"{cell.cell_id}: {record.status}, {cause}"
    return f"{line}\n      log: {cell.folder.log_path}" if record.status == FAILED else line


@contextmanager
def live_overview(cells: list[PlannedCell], total: int, done_before: int) -> Iterator[None]:
    """Show on a terminal, in one line, how far the sweep is; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield
        return
    finished = threading.Event()
    began = time.monotonic()

    def show() -> None:
        while not finished.wait(REFRESH_SECONDS):
            line = _overview(cells, total, done_before, time.monotonic() - began)
            print(f"\r\x1b[2K{line[:118]}", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _overview(cells: list[PlannedCell], total: int, done_before: int, seconds: float) -> str:
    states = {cell.cell_id: cell.folder.state() for cell in cells}
    counts = Counter(states.values())
    done = done_before + counts[DONE]
    parts = [f"[{done}/{total} done"]
    parts += [f", {counts[state]} {state}" for state in (RUNNING, FAILED, BLOCKED) if counts[state]]
    parts.append(f"] {duration(seconds)}")
    if counts[DONE]:
        left = seconds / counts[DONE] * (len(cells) - counts[DONE] - counts[FAILED])
        parts.append(f", about {duration(left)} left")
    for cell in cells:
        if states[cell.cell_id] == RUNNING:
            points = read_curves(cell.folder.path / "metrics.jsonl")
            step = f" step {points[-1]['step']}" if points else ""
            parts.append(f" | {cell.cell_id}{step}")
    return "".join(parts)


def exit_report(plan: Plan) -> tuple[str, int]:
    """List what did not finish, and return the sweep's exit code with it."""
    ended = {cell.cell_id: cell.folder.state() for cell in plan.cells}
    failed = [cell for cell in plan.cells if ended[cell.cell_id] != DONE]
    if not failed:
        return f"all {len(plan.cells)} cells are done", 0
    lines = [f"{len(failed)} of {len(plan.cells)} cells are not done:"]
    lines += [f"  {outcome(cell)}" for cell in failed]
    lines.append("the same command tries them again; the others are kept")
    interrupted = all(ended[cell.cell_id] == INTERRUPTED for cell in failed)
    return "\n".join(lines), 130 if interrupted else 1
