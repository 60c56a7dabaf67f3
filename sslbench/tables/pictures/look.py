"""How the report's pictures look: type, sizes, points by class, files.

Drawn to be printed 1:1 on a page 7.2 inches wide, with type of 8 points or more. Models and classes
differ in marker as well as in colour, so that neither eyes nor printers need to tell colours apart.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from PIL import Image

from sslbench.atomic import replace_file
from sslbench.evaluate.projection import Projection
from sslbench.palette import class_style

WIDTH, DPI, COLORS_PER_IMAGE = 7.2, 150, 256
MAX_NUMBERED_CLASSES = 12
NUMBERED_FROM = 5
"""Percent from which a cell of a confusion matrix shows its number."""


def write_png(canvas: Canvas, path: Path) -> None:
    """Write a picture with a palette of its own: a third of the size, hardly a difference."""
    canvas.set_dpi(DPI)
    drawn = FigureCanvasAgg(canvas)
    drawn.draw()
    image = Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3])
    image = image.quantize(COLORS_PER_IMAGE, dither=Image.Dither.NONE)
    replace_file(path, lambda file: image.save(file, format="PNG", dpi=(DPI, DPI)))


def share_limits(axes: Iterable[Axes]) -> None:
    """Give all axes the limits that hold what any of them shows."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def add_class_legend(canvas: Canvas, names: list[str]) -> None:
    """Name the classes below a picture."""
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", markersize=5, label=name)
        for label, name in enumerate(names)
        for color, marker in [class_style(label)]
    ]
    columns = max(2, int(canvas.get_figwidth() // 1.2))
    canvas.legend(
        handles=handles, loc="outside lower center", ncols=min(columns, 5), handletextpad=0.1
    )


def blank(ax: Axes) -> None:
    """Take away ticks and frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def scatter(ax: Axes, projection: Projection, size: float) -> None:
    """Draw points by class, with the numbers below."""
    for label in np.unique(projection.labels):
        color, marker = class_style(int(label))
        points = projection.coordinates[projection.labels == label]
        ax.scatter(*points.T, s=size, c=color, marker=marker, linewidths=0, alpha=0.8)
    blank(ax)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_facecolor("#f6f6f6")
    numbers = projection.numbers
    ax.set_xlabel(
        f"k-NN {100 * numbers.knn:.0f} % ({100 * numbers.knn_2d:.0f} %)\n"
        f"silh. {numbers.silhouette:.2f} ({numbers.silhouette_2d:.2f})\n"
        f"trust {numbers.trustworthiness:.2f}"
    )


def number_cells(ax: Axes, shares: np.ndarray) -> None:
    """Write the larger shares, in percent, into the cells of a matrix with few classes."""
    if len(shares) > MAX_NUMBERED_CLASSES:
        return
    for i, j in np.argwhere(shares.round() >= NUMBERED_FROM):
        color = "white" if shares[i, j] > 60 else "black"
        number = ax.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", color=color)
        number.set_in_layout(False)  # it lies within the axes: nothing to make room for
