"""Points by class and legends, as the report and W&B draw them."""

import warnings
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from PIL import Image

from sslbench.palette import ALARM, INK, class_style
from sslbench.words.escape import visible

STYLE = Path(__file__).with_suffix(".mplstyle")
NO_TICKS = {"xticks": [], "yticks": []}
TITLE_WIDTH = 22
"""Letters that fit along a panel."""
LETTER_INCHES = 0.07


def scatter(ax: Axes, points: np.ndarray, labels: np.ndarray, size: float) -> None:
    """Draw `(n, 2)` points by class."""
    for label in np.unique(labels):
        color, marker = class_style(int(label))
        style = {"color": color, "marker": marker, "markersize": size**0.5, "alpha": 0.8}
        ax.plot(*points[labels == label].T, linestyle="", markeredgewidth=0, **style)
    ax.grid(visible=False)
    ax.spines[:].set(visible=True, alpha=0.3)
    ax.set_aspect("equal", adjustable="datalim")


def name_classes(canvas: Canvas, names: Iterable[str]) -> None:
    """Name below a picture what the colours and markers of `scatter` stand for."""
    styles = [(name, class_style(label)) for label, name in enumerate(names)]
    add_legend(canvas, styles, linestyle="", markersize=5)


def add_legend(
    canvas: Canvas, styles: Iterable[tuple[str, tuple[str, str]]], *, hollow: str = "", **more: Any
) -> None:
    """Name what colours and markers stand for below a picture; both tell things apart.

    Args:
        hollow: What hollow markers on dotted lines stand for, if there are any.
    """
    handles = [
        Line2D([], [], color=color, marker=marker, label=short(name), **more)
        for name, (color, marker) in styles
    ]
    for handle in handles:
        if handle.get_color() == ALARM:
            handle.set_linestyle("")
    if hollow:
        handles.append(
            Line2D([], [], color=INK, marker="o", ls=":", lw=1, mfc="none", label=hollow)
        )
    longest = max((_width(handle.get_label()) for handle in handles), default=0)
    column_inches = max(1.3, 0.5 + LETTER_INCHES * longest)
    columns = min(5, max(1, int(canvas.get_figwidth() // column_inches)))
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns)


def short(name: str) -> str:
    """Cut a long name, and keep it in one line that is not empty."""
    name = visible(name)
    if _width(name) <= TITLE_WIDTH:
        return name
    ends = accumulate(map(_width, name))
    return name[: sum(end < TITLE_WIDTH for end in ends)] + "…"


def rendered(canvas: Canvas) -> Image.Image:
    """Draw a picture into pixels, without warnings of letters that the font lacks."""
    drawn = FigureCanvasAgg(canvas)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        drawn.draw()
    return Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3])


def _width(text: str) -> int:
    """Return how many letters wide a text is; one of Chinese or an emoji takes two."""
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)
