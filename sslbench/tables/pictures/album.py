"""What the pictures of one group share: its rows, how models look, the grid of panels, files."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from sslbench.palette import LINES
from sslbench.tables import paper
from sslbench.tables.contents import Picture, Report
from sslbench.tables.gather import Cell
from sslbench.tables.groups import Group, slug, unlabeled_per_labeled
from sslbench.tables.pictures.look import blank, write_png

TITLE_WIDTH, TITLE_LINES, LINE_INCHES = 22, 3, 0.14
"""Characters that fit along a panel, lines that pictures have room for, height of one more."""
Way = tuple[str, str | None]
"""How a row was trained: its method, and whose weights it started from."""
Grid = dict[Way, dict[str, paper.Row]]
"""Rows by way and model."""


class Album:
    """The rows of one group that are drawn, and where their pictures are kept.

    A picture is `figures/<name>.png` below the report's folder, its data the `.csv` beside it.
    """

    def __init__(self, group: Group, report: Report) -> None:
        self.group = group
        self.report = report
        self.grid = _grid(group)
        self.models = sorted(
            {model for row in self.grid.values() for model in row}, key=model_place
        )
        others = [model for model in self.models if model not in paper.MODELS]
        self.lines = dict(zip([*paper.MODELS, *others], cycle(LINES), strict=False))

    def rows(self) -> list[paper.Row]:
        return [row for rows in self.grid.values() for row in rows.values()]

    def first_done(self, row: paper.Row) -> Cell | None:
        """Return a row's finished cell of the lowest seed."""
        return next(iter(self.group.done(row).values()), None)

    def way_title(self, way: Way, separator: str = "\n") -> str:
        method, init = way_words(way)
        parts = [method, f"from {init}" if init else ""]
        if way[0] == paper.SEMI:
            ratios = {row.ratio for row in self.grid[way].values()} - {None}
            parts.append(", ".join(sorted(sorted(ratios), key=unlabeled_per_labeled)))
        return separator.join(line for part in parts for line in wrap(part, TITLE_WIDTH))

    def title_inches(self, ways: list[Way]) -> float:
        """Return what the titles' lines need beyond the room that pictures have for them."""
        lines = max(self.way_title(way).count("\n") + 1 for way in ways)
        return LINE_INCHES * max(0, lines - TITLE_LINES)

    def with_data(self, found: Iterable[paper.Row]) -> tuple[list[Way], list[str]]:
        """Return the ways and models that any of the rows has."""
        ways = [way for way in self.grid if any((row.method, row.init) == way for row in found)]
        return ways, [model for model in self.models if any(row.model == model for row in found)]

    def panels(
        self, axes: np.ndarray, ways: list[Way], models: list[str], found: Iterable[paper.Row]
    ) -> Iterable[tuple[tuple[Axes, paper.Row], tuple[int, int]]]:
        """Title a grid of panels, and yield those that have data."""
        for i, way in enumerate(ways):
            for j, model in enumerate(models):
                ax, row = axes[i, j], self.grid[way].get(model)
                if j == 0:
                    ax.set_ylabel(self.way_title(way), fontsize=rcParams["axes.titlesize"])
                if i == 0:
                    ax.set_title(paper.model_title(model))
                if row in found:
                    yield (ax, row), (i, j)
                else:
                    blank(ax)
                    ax.text(0.5, 0.5, "no data", ha="center", transform=ax.transAxes, color="gray")

    def add_legend(self, canvas: Canvas, models: list[str]) -> None:
        handles = [
            Line2D([], [], color=color, marker=marker, label=paper.model_title(model))
            for model in models
            for color, marker in [self.lines[model]]
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))

    def save(
        self, canvas: Canvas, name: str, title: str, caption: str, frame: pd.DataFrame
    ) -> Picture:
        group = self.group
        stem = name if group.is_paper else f"{name}-{slug(group.title)}"
        folder = self.report.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / f"{stem}.csv")
        path = folder / f"{stem}.png"
        write_png(canvas, path)
        return Picture(stem, f"{title} ({group.title})", caption, path)


def _grid(group: Group) -> Grid:
    """Choose a row per way and model: finished ones first, then those of the paper's main ratio."""
    grid: Grid = {}

    def preference(row: paper.Row) -> tuple[bool, bool, float]:
        is_full = row.ratio == paper.FULL_RATIO
        return bool(group.done(row)), is_full, unlabeled_per_labeled(row.ratio)

    for row in sorted(group.rows, key=preference):
        grid.setdefault((row.method, row.init), {})[row.model] = row
    ways = sorted(grid, key=lambda way: (_index(paper.METHODS, way[0]), way[0], way[1] or ""))
    return {
        way: dict(sorted(grid[way].items(), key=lambda each: model_place(each[0]))) for way in ways
    }


def _index(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else len(known)


def model_place(model: str) -> tuple[int, str]:
    """Return what sorts models as the paper does, its own first."""
    return _index(paper.MODELS, model), model


def way_words(way: Way) -> tuple[str, str]:
    """Return the titles of a method and of what it starts from."""
    method, init = way
    return paper.method_title(method), paper.method_title(init) if init else ""
