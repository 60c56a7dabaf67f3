"""What the pictures of one group share: its rows, how models look, the grid of panels, files."""

import warnings
from collections.abc import Collection, Iterable
from itertools import accumulate, cycle
from pathlib import Path
from textwrap import wrap
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from PIL import Image

from sslbench.files.atomic import replace_file
from sslbench.palette import LINES
from sslbench.tables import paper
from sslbench.tables.contents import Picture, Report
from sslbench.tables.groups import Group, slug, unlabeled_per_labeled
from sslbench.tables.render import write_csv
from sslbench.words.escape import visible

STYLE = Path(__file__).with_name("pictures.mplstyle")
WIDTH = 7.2
TITLE_WIDTH, MAX_TITLE_LINES = 22, 4
LINE_INCHES, LETTER_INCHES = 0.14, 0.07
"""Characters that fit along a panel and lines that fit above it; a line's height, a letter's width.
"""
Way = tuple[str, str | None]
"""How a row was trained: its method, and whose weights it started from."""


class Album:
    """The rows of one group that are drawn: one for each way of training and model."""

    def __init__(self, group: Group, report: Report) -> None:
        self.group, self.report = group, report
        self.grid: dict[Way, dict[str, paper.Row]] = {}
        for row in sorted(group.rows, key=self._order):
            self.grid.setdefault((row.method, row.init), {})[row.model] = row
        self.rows = [row for rows in self.grid.values() for row in rows.values()]
        used = {row.model for row in self.rows}
        known = [*paper.MODELS, *sorted(used - set(paper.MODELS))]
        self.models = [model for model in known if model in used]
        self.lines = dict(zip(known, cycle(LINES), strict=False))

    def _order(self, row: paper.Row) -> tuple:
        """Sort as the paper does; of several ratios the last is drawn: a finished one, the main."""
        preference = bool(self.group.done(row)), row.ratio == paper.FULL_RATIO
        way = [*paper.METHODS, row.method].index(row.method), row.method, row.init or ""
        return *way, row.model, *preference, unlabeled_per_labeled(row.ratio)

    def way_title(self, way: Way) -> str:
        method, init = way_words(way)
        parts = [method, f"from {init}" if init else ""]
        if way[0] == paper.SEMI:
            ratios = {row.ratio for row in self.grid[way].values()} - {None}
            parts.append(", ".join(sorted(sorted(ratios), key=unlabeled_per_labeled)))
        return "\n".join(wrapped(part) for part in parts if part)

    def title_inches(self, ways: Iterable[Way]) -> float:
        return LINE_INCHES * max(self.way_title(way).count("\n") + 1 for way in ways)

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
                    ax.text(0.5, 0.5, "no data", ha="center", transform=ax.transAxes, color="gray")
        for ax, model in zip(axes[0], models, strict=True):
            ax.set_title(wrapped(paper.title(model)))
        return canvas, panels

    def add_legend(self, canvas: Canvas, models: list[str]) -> None:
        add_legend(canvas, [(paper.title(model), self.lines[model]) for model in models])

    def save(
        self, canvas: Canvas, name: str, title: str, caption: str, frame: pd.DataFrame
    ) -> Picture:
        """Write a picture with a palette of its own: a third of the size, hardly a difference."""
        stem = name if self.group.is_paper else f"{name}-{slug(self.group.title)}"
        path = self.report.folder / "figures" / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(frame, path.with_suffix(".csv"))
        image = rendered(canvas).quantize(256, dither=Image.Dither.NONE)
        replace_file(path, lambda file: image.save(file, format="PNG", dpi=(canvas.dpi,) * 2))
        return Picture(stem, f"{title} ({self.group.title})", caption, path)


def add_legend(canvas: Canvas, styles: Iterable[tuple[str, tuple[str, str]]], **more: Any) -> None:
    """Name what colours and markers stand for below a picture; both tell things apart."""
    handles = [
        Line2D([], [], color=color, marker=marker, label=short(name), **more)
        for name, (color, marker) in styles
    ]
    longest = max((_width(handle.get_label()) for handle in handles), default=0)
    column_inches = max(1.3, 0.5 + LETTER_INCHES * longest)
    columns = min(5, max(1, int(canvas.get_figwidth() // column_inches)))
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns)


def rendered(canvas: Canvas) -> Image.Image:
    """Draw a picture into pixels, without warnings of letters that the font lacks."""
    drawn = FigureCanvasAgg(canvas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        drawn.draw()
    return Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3])


def wrapped(title: str) -> str:
    """Break a title into lines that fit along a panel."""
    return "\n".join(wrap(visible(title), TITLE_WIDTH, max_lines=MAX_TITLE_LINES))


def short(name: str) -> str:
    """Cut a long name, and keep it in one line that is not empty."""
    name = visible(name)
    if _width(name) <= TITLE_WIDTH:
        return name
    ends = accumulate(map(_width, name))
    return name[: sum(end < TITLE_WIDTH for end in ends)] + "…"


def _width(text: str) -> int:
    """Return how many letters wide a text is; one of Chinese or an emoji takes two."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)


def way_words(way: Way) -> tuple[str, str]:
    """Return the titles of a method and of what it starts from."""
    method, init = way
    return paper.title(method), paper.title(init or "")
