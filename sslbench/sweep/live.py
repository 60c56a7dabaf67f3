"""Where the cells of a sweep stand while it runs, as a table on a terminal."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sslbench.cell.cell import Cell
from sslbench.cell.curves import CURVES, read_curves
from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE, RECORD
from sslbench.sweep.plan import Job, Plan
from sslbench.sweep.present import duration


class Overview:
    """Counts and running cells; a cell that has ended is not looked at again."""

    def __init__(self, plan: Plan) -> None:
        self._waiting = plan.to_do()
        self._total = len(plan.jobs)
        self._ended = Counter({DONE: plan.counts()[DONE]})
        self._num_waiting = len(self._waiting)
        self._began = time.time()

    def table(self) -> Table:
        """Return the table as it stands now."""
        running = self._look()
        seconds = time.time() - self._began
        parts = [f"{self._ended[DONE]}/{self._total} done", f"{len(running)} running"]
        parts += [f"{n} {state}" for state, n in self._ended.items() if state != DONE]
        parts.append(duration(seconds))
        if num_ended := self._num_waiting - len(self._waiting):
            parts.append(f"about {duration(seconds / num_ended * len(self._waiting))} left")
        table = Table("running", "step", "validation accuracy", title=", ".join(parts))
        for cell in running:
            table.add_row(cell.id, *_latest(cell))
        return table

    def _look(self) -> list[Cell]:
        """Look at the cells that have not ended, and return those that run."""
        running, waiting = [], []
        for job in self._waiting:
            state = job.cell.folder.state()
            if state == RUNNING:
                running.append(job.cell)
            if state == RUNNING or not self._is_of_this_sweep(job):
                waiting.append(job)
            else:
                self._ended[state] += 1
        self._waiting = waiting
        return running

    def _is_of_this_sweep(self, job: Job) -> bool:
        """Whether there is a record, and not of an earlier try."""
        path = job.cell.folder.path / RECORD
        return path.exists() and path.stat().st_mtime >= self._began


def _latest(cell: Cell) -> tuple[str, str]:
    """Return the last step and validation accuracy of a cell's curves, as far as there are any."""
    try:
        points = read_curves(cell.folder.path / CURVES)
    except (OSError, ValueError):  # the cell itself will complain
        return "", ""
    accuracies = [f"{point['accuracy']:.2%}" for point in points if point["split"] == "val"]
    return str(points[-1]["step"]) if points else "", accuracies[-1] if accuracies else ""


@contextmanager
def live_overview(plan: Plan) -> Iterator[None]:
    """Show on a terminal how far the sweep is; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield
        return
    overview = Overview(plan)
    with Live(
        get_renderable=overview.table,
        console=Console(stderr=True),
        refresh_per_second=1,
        transient=True,
    ):
        yield
