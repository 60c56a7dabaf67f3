"""What the pictures of one group share: its rows, how models look, the grid of panels, files."""

from collections.abc import Collection, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.palette import ALARM, LINES
from sslbench.scatter import TITLE_WIDTH, add_legend
from sslbench.tables.contents import Picture
from sslbench.tables.groups import Group, paper_order, slug
from sslbench.tables.pictures.drawing import save_picture
from sslbench.words.escape import visible

WIDTH = 7.2
MAX_WAYS = 4
"""Rows of panels in one picture, so that it fits on a page."""
MAX_TITLE_LINES, LINE_INCHES = 4, 0.14
"""Lines that fit above a panel, and the height of one."""
COLLAPSED = ("collapsed", (ALARM, "X"))
"""What a legend says of the mark at collapsed cells, and the mark."""


class Way(NamedTuple):
    """How a row was trained: all but its model."""

    method: str
    init: str | None = None
    ratio: str | None = None


class Album:
    """The rows of one group, by way of training and model; pictures of them go to `folder`.

    What stands in a picture's way is added to `problems`.
    """

    def __init__(self, group: Group, folder: Path, formats: Collection[str] = ()) -> None:
        self.group, self.folder, self.formats = group, folder, formats
        self.problems: list[str] = []
        self.grid: dict[Way, dict[str, paper.Row]] = {}
        for row in sorted(group.rows, key=paper_order):
            self.grid.setdefault(way_of(row), {})[row.model] = row
        self.rows = [row for rows in self.grid.values() for row in rows.values()]
        used = {row.model for row in self.rows}
        known = [*paper.MODELS, *sorted(used - set(paper.MODELS))]
        self.models = [model for model in known if model in used]
        self.lines = dict(zip(known, cycle(LINES), strict=False))

    def has_collapsed(self, row: paper.Row) -> bool:
        """Whether a finished cell of a row is no better than chance."""
        return any(cell.collapse is not None for cell in self.group.done(row).values())

    def way_title(self, way: Way) -> str:
        """Name a way of training; its ratio where the method has it in others too."""
        method, init = way_words(way)
        ratios = {other.ratio for other in self.grid if other.method == way.method}
        is_told = way.method == paper.SEMI or len(ratios) > 1
        parts = [method, f"from {init}" if init else "", (is_told and way.ratio) or ""]
        return "\n".join(wrapped(part) for part in parts if part)

    def way_name(self, way: Way) -> str:
        """Name a way of training in one line."""
        return " ".join(self.way_title(way).split())

    def title_inches(self, ways: Iterable[Way]) -> float:
        return LINE_INCHES * max(self.way_title(way).count("\n") + 1 for way in ways)

    def pages(self, found: Collection[paper.Row]) -> Iterator[tuple[str, list[paper.Row]]]:
        """Share rows out over pictures of a page's height at most, each with its name's end."""
        ways = [way for way in self.grid if not set(found).isdisjoint(self.grid[way].values())]
        for first in range(0, len(ways), MAX_WAYS):
            few = ways[first : first + MAX_WAYS]
            rows = [row for way in few for row in self.grid[way].values() if row in found]
            yield f"-{first // MAX_WAYS + 1}" if first else "", rows

    def panels(
        self, found: Collection[paper.Row], size: np.ndarray, margin: float, **options: Any
    ) -> tuple[Canvas, dict[paper.Row, Axes]]:
        """Title a grid of panels, ways by models, sizes in inches; return those of the rows."""
        ways = [way for way, rows in self.grid.items() if not set(found).isdisjoint(rows.values())]
        models = [model for model in self.models if any(row.model == model for row in found)]
        width, height = margin + size * (len(models), len(ways))
        canvas = Canvas((width + self.title_inches(ways), height))
        axes = canvas.subplots(len(ways), len(models), squeeze=False, **options)
        panels = {}
        for i, way in enumerate(ways):
            axes[i, 0].set_ylabel(self.way_title(way))
            for ax, model in zip(axes[i], models, strict=True):
                ax.spines[:].set_visible(False)
                ax.grid(visible=False)
                row = self.grid[way].get(model)
                if row in found:
                    panels[row] = ax
                else:
                    ax.text(0.5, 0.5, "no data", ha="center", transform=ax.transAxes, alpha=0.6)
        for ax, model in zip(axes[0], models, strict=True):
            ax.set_title(wrapped(paper.title(model)))
        return canvas, panels

    def add_legend(self, canvas: Canvas, models: list[str], *, collapsed: bool = False) -> None:
        """Name the models' lines below a picture, and the mark of what collapsed if it has one."""
        styles = [(paper.title(model), self.lines[model]) for model in models]
        add_legend(canvas, styles + [COLLAPSED] * collapsed)

    def save(
        self,
        canvas: Canvas,
        name: str,
        title: str,
        caption: str,
        frame: pd.DataFrame,
        alt: str | None = None,
    ) -> Picture:
        """Write a picture in each format, its data beside it; `alt` says what is seen in it."""
        stem = name if self.group.is_paper else f"{name}-{slug(self.group.title)}"
        titles = f"{title} ({self.group.title})", caption, alt or f"{title}. {caption}"
        return save_picture(canvas, self.folder / "figures" / stem, titles, frame, self.formats)


def way_of(row: paper.Row) -> Way:
    """Return how a row was trained."""
    return Way(row.method, row.init, row.ratio)


def way_words(way: tuple) -> tuple[str, str]:
    """Return the titles of a method and of what it starts from."""
    return paper.title(way[0]), paper.title(way[1] or "")


def wrapped(title: str) -> str:
    """Break a title into lines that fit along a panel."""
    return "\n".join(wrap(visible(title), TITLE_WIDTH, max_lines=MAX_TITLE_LINES))


def part(name: str) -> str:
    """Return what tells the title of a page after the first from those before, by its name."""
    number = name.rpartition("-")[2]
    return f", part {number}" if number.isdecimal() else ""


def listed(values: dict[str, float], digits: int = 1) -> str:
    """Write numbers by name for an alternative text: `ConvNet 53.9, ResNet18 67.4`."""
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())
