"""A sweep while it runs, on one screen of text: what is done, how far the rest is, what it says."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from shutil import get_terminal_size
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sslbench.cell.curves import CURVES, read_curves
from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE, FAILED
from sslbench.tables.contents import Report
from sslbench.tables.gather import Cell
from sslbench.tables.overview import first_table_text
from sslbench.words.escape import visible

LEAST_SECONDS, PAUSES = 5.0, 4
"""From one look to the next, and how much longer than a look that is at least."""
MAX_LINES = 6
"""Of running cells, and of trouble."""


class Place(NamedTuple):
    """Where a running cell stands: what part of its training is behind it, and its last accuracy.

    Shares; NaN where it is not known.
    """

    done: float
    accuracy: float


class Watch:
    """Looks at a sweep again and again; knows from earlier looks how fast its cells are."""

    def __init__(self, build: Callable[[], Report]) -> None:
        self._build = build
        self._first: dict[str, tuple[float, float]] = {}

    def screen(self) -> str:
        """Look at the sweep, and return what is to be shown of it."""
        report, now = self._build(), time.monotonic()
        lines = [headline(report), visible(report.verdict), ""]
        running = [cell for cell in report.cells if cell.status == RUNNING]
        lines += [self._progress(cell, now) for cell in running[:MAX_LINES]]
        lines += [f"… and {len(running) - MAX_LINES} more"] * (len(running) > MAX_LINES)
        lines += [""] * bool(running) + _trouble(report)
        if report.first_table is not None:
            lines += first_table_text(report.first_table).splitlines()
        return "\n".join(lines)

    def _progress(self, cell: Cell, now: float) -> str:
        """Say how far a cell is, and from the second look on when it will be done."""
        done, accuracy = place_of(cell)
        since, at_first = self._first.setdefault(cell.cell_id, (now, done))
        words = [f"{cell.title}: {done:4.0%} trained".replace("%", " %")]
        words += [f"validation {100 * accuracy:.1f} %"] if accuracy == accuracy else []
        if done > at_first:
            left = (now - since) / (done - at_first) * (1 - done)
            words.append(f"about {left / 60:.0f} min left")
        return visible(", ".join(words))


def watch(build: Callable[[], Report]) -> None:
    """Show a sweep until Ctrl-C; where there is no terminal, once."""
    view = Watch(build)
    if not sys.stdout.isatty():
        print(view.screen())
        return
    with suppress(KeyboardInterrupt), Live(console=Console(), auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            live.update(Text(_cut(view.screen())), refresh=True)
            time.sleep(max(LEAST_SECONDS, PAUSES * (time.monotonic() - began)))


def headline(report: Report) -> str:
    """Count cells by state."""
    states = Counter(cell.status for cell in report.cells)
    parts = [f"{states.pop(DONE, 0)} of {len(report.cells)} cells done"]
    parts += [f"{number} {state}" for state, number in sorted(states.items())]
    return visible(f"{report.outputs}: {', '.join(parts)}; {time.strftime('%H:%M:%S')}")


def place_of(cell: Cell) -> Place:
    """Return where a cell stands, as its curves say it."""
    nothing = float("nan")
    try:
        points = read_curves(cell.folder / CURVES)
        accuracies = [point["accuracy"] for point in points if point["split"] == "val"]
        settings, last = cell.record.settings, points[-1]
        steps, epochs = settings["steps"], settings["method"]["epochs"]
        done = last["step"] / steps if steps else last["epoch"] / epochs
        return Place(min(1.0, done), accuracies[-1] if accuracies else nothing)
    except (OSError, ValueError, LookupError, TypeError, ZeroDivisionError):  # not begun, or torn
        return Place(0.0, nothing)


def _trouble(report: Report) -> list[str]:
    failed = [cell for cell in report.cells if cell.status == FAILED]
    lines = [
        f"! failed: {cell.title}: {(cell.record.error or {}).get('message')}" for cell in failed
    ]
    lines += [
        f"! collapsed: {each.title}: {each.collapse}" for each in report.cells if each.collapse
    ]
    lines += [f"! {problem}" for problem in report.problems]
    more = [f"! and {len(lines) - MAX_LINES} more"] * (len(lines) > MAX_LINES)
    return [visible(line) for line in lines[:MAX_LINES] + more] + [""] * bool(lines)


def _cut(text: str) -> str:
    """Leave out what does not fit on the terminal."""
    columns, rows = get_terminal_size()
    lines = [line[: columns - 1] for line in text.splitlines()]
    return "\n".join(lines[: rows - 1])
