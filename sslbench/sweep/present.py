"""What a person reads about a sweep: its plan, where it stands, and what failed."""

import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sslbench.atomic import read_curves
from sslbench.cell.folder import MISSING, RUNNING
from sslbench.cell.record import DONE, FAILED, RECORD, is_of_other_code
from sslbench.data import is_here
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
    """Count the cells of a plan by their states, and those that other code has trained."""
    counts = plan.counts()
    parts = [f"{number} {state}" for state, number in sorted(counts.items())]
    duplicates = plan.num_requested - len(plan.cells)
    if duplicates > 0:
        parts.append(f"{duplicates} asked for twice")
    line = f"{len(plan.cells)} cells: " + ", ".join(parts)
    older = [c for c in plan.cells if c.state == DONE and is_of_other_code(c.folder.record())]
    if older:
        line += f"\n{len(older)} of those done were trained by other code than this, such as "
        line += f"{older[0].folder.path}: delete their folders to train them anew"
    return line


IN_ID = ("model", "method", "ratio", "seed", "data", "data.name", "experiment")
"""Overrides that a cell's id tells already, or that are alike in a sweep."""


def distinctions(plan: Plan) -> dict[str, str]:
    """Return by cell the overrides that not all cells have and that its id does not tell."""
    common = set.intersection(*(set(cell.overrides) for cell in plan.cells))
    return {
        cell.cell_id: " ".join(
            override
            for override in cell.overrides
            if override not in common
            and override.partition("=")[0] not in IN_ID
            and override != "init.from=null"
        )
        for cell in plan.cells
    }


def plan_table(plan: Plan, costs: dict[str, Cost | None], workers: int) -> str:
    """List every cell with its state and cost, and the total time of what is to do."""
    width = max(len(cell.cell_id) for cell in plan.cells)
    settings = distinctions(plan)
    lines = [headline(plan), f"{'cell':{width}}  state    time      memory    from     settings"]
    for cell in plan.cells:
        cost = costs.get(cell.cell_id)
        figures = f"{'':27}"
        if cost is not None:
            memory = f"{cost.memory_bytes / GIB:.1f} GiB"
            figures = f"{duration(cost.seconds):8}  {memory:8}  {cost.source:7}"
        line = f"{cell.cell_id:{width}}  {cell.state:7}  {figures}  {settings[cell.cell_id]}"
        lines.append(line.rstrip())
    left = [cost for cell in plan.to_do() if (cost := costs.get(cell.cell_id)) is not None]
    if left:
        total = sum(cost.seconds for cost in left)
        peak = max(cost.memory_bytes for cost in left) / GIB
        lines.append(
            f"to do: {duration(total)} one after the other, at most {peak:.1f} GiB at a time"
        )
        if workers > 1:
            lines.append(f"with {workers} workers: about {duration(total / workers)}")
    for root in sorted({c.settings.data.root for c in plan.cells if not is_here(c.settings.data)}):
        lines += [f"STL-10 is not in {root}: the sweep would download it first (2.6 GB);"]
        lines += ["where it cannot be had, data=auto takes the stand-in"]
    return "\n".join(lines)


def outcome(cell: PlannedCell) -> str:
    """Say in a line or two how a cell of a sweep ended."""
    try:
        record = cell.folder.record()
    except ValueError as error:
        return f"{cell.cell_id}: {error}"
    if record is None:
        return f"{cell.cell_id}: not run"
    if record.status == DONE:
        val, test = (record.results[split]["accuracy"] for split in ("val", "test"))
        return f"{cell.cell_id}: val {val:.2%}, test {test:.2%}"
    cause = f"{record.error['type']}: {record.error['message']}" if record.error else ""
    line = f"{cell.cell_id}: {record.status}, {cause}"
    return f"{line}\n      log: {cell.folder.log_path}" if record.status == FAILED else line


class _Overview:
    """Where the cells of a sweep stand now; a cell that has ended is not looked at again."""

    def __init__(self, plan: Plan) -> None:
        self._waiting = plan.to_do()
        self._total = len(plan.cells)
        self._done_before = plan.counts()[DONE]
        self._began = time.time()
        self._ended: Counter[str] = Counter()

    def line(self) -> str:
        running, waiting = [], []
        for cell in self._waiting:
            state = cell.folder.state()
            if state == RUNNING:
                running.append(cell)
            if state in (RUNNING, MISSING) or not self._is_new(cell):
                waiting.append(cell)
            else:
                self._ended[state] += 1
        self._waiting = waiting
        seconds = time.time() - self._began
        parts = [f"[{self._done_before + self._ended[DONE]}/{self._total} done"]
        parts += [f", {len(running)} running"]
        parts += [f", {n} {state}" for state, n in self._ended.items() if state != DONE]
        parts.append(f"] {duration(seconds)}")
        if self._ended.total():
            left = seconds / self._ended.total() * len(waiting)
            parts.append(f", about {duration(left)} left")
        for cell in running:
            parts.append(f" | {cell.cell_id}{_step_text(cell)}")
        return "".join(parts)

    def _is_new(self, cell: PlannedCell) -> bool:
        """Whether the record is of this sweep, and not of an earlier try."""
        return (cell.folder.path / RECORD).stat().st_mtime >= self._began


def _step_text(cell: PlannedCell) -> str:
    try:
        return f" step {read_curves(cell.folder.path / 'metrics.jsonl')[-1]['step']}"
    except (OSError, ValueError, LookupError, TypeError):  # none yet; the cell itself will complain
        return ""


@contextmanager
def live_overview(plan: Plan) -> Iterator[None]:
    """Show on a terminal, in one line, how far the sweep is; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield
        return
    finished = threading.Event()
    overview = _Overview(plan)

    def show() -> None:
        while not finished.wait(REFRESH_SECONDS):
            line = overview.line()[: shutil.get_terminal_size().columns - 1]
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def exit_report(plan: Plan) -> str | None:
    """List what did not finish and why; None if all cells are done."""
    failed = [cell for cell in plan.cells if cell.folder.state() != DONE]
    if not failed:
        return None
    settings = distinctions(plan)
    lines = [f"{len(failed)} of {len(plan.cells)} cells are not done:"]
    for cell in failed:
        told = settings[cell.cell_id]
        lines += [f"  {outcome(cell)}", *[f"      settings: {told}"] * bool(told)]
    left = [cell for cell in failed if cell.state == FAILED]
    if len(left) < len(failed):
        lines.append("the same command goes on with them; the others are kept")
    if left:
        lines.append(
            f"{len(left)} were not tried again: hydra.sweeper.retry_failed=true "
            f"hydra.sweeper.retry_limit={1 + max(_failures(cell) for cell in left)} tries them"
        )
    return "\n".join(lines)


def _failures(cell: PlannedCell) -> int:
    record = cell.folder.record()
    return 0 if record is None else record.failures
