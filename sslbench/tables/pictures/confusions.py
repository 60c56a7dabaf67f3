"""Which classes the test images are taken for."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.tables.contents import Picture
from sslbench.tables.gather import Cell
from sslbench.tables.pictures.album import Album, way_words
from sslbench.tables.pictures.look import NUMBERED_FROM, number_cells


def draw_confusions(album: Album) -> Picture | None:
    """Draw the test images' classes against those they were taken for."""
    shares, names = {}, []
    for row in album.rows():
        matrices = []
        for cell in album.group.done(row).values():
            try:
                matrices.append(_matrix(cell, names))
                names = cell.class_names
            except (ValueError, TypeError, OverflowError) as error:
                album.report.problems.append(
                    f"{cell.folder}: not a confusion matrix ({error}); it is left out"
                )
        if matrices:
            counts = sum(matrices)
            shares[row] = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    if not shares:
        return None
    ways, models = album.with_data(shares)
    width = 1.3 + 2.05 * len(models) + album.title_inches(ways)
    canvas = Canvas((width, 0.9 + 2.05 * len(ways)), layout="constrained")
    axes = canvas.subplots(len(ways), len(models), squeeze=False)
    for ax in axes.flat:
        ax.set_box_aspect(1)
    ticks = np.arange(len(names))
    for (ax, row), (i, j) in album.panels(axes, ways, models, shares):
        image = ax.imshow(shares[row], cmap="Blues", vmin=0, vmax=100)
        number_cells(ax, shares[row])
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0, pad=1)
        leftmost = all(album.grid[ways[i]].get(model) not in shares for model in models[:j])
        lowest = all(album.grid[way].get(models[j]) not in shares for way in ways[i + 1 :])
        ax.set_yticks(ticks, names if leftmost else [])
        ax.set_xticks(ticks, names if lowest else [], rotation=90)
    canvas.supxlabel("taken for")
    # To the left, or the layout takes the gap beside a square for room for its labels.
    left = (0.0, 0.5)
    bar = canvas.colorbar(image, ax=axes, location="right", aspect=40, shrink=0.6, panchor=left)
    bar.set_label("share of the class's test images (%)")
    bar.outline.set_visible(False)
    frame = pd.concat(
        {
            (*way_words((row.method, row.init)), row.model): pd.DataFrame(share, names, names)
            for row, share in shares.items()
        },
        names=["method", "from", "model", "class"],
    )
    return album.save(
        canvas,
        "confusion",
        "Confusion of the test images' classes",
        "Rows: the class an image is of; each sums to 100 %, over all seeds. Numbers stand "
        f"where a share is {NUMBERED_FROM} % or more.",
        frame,
    )


def _matrix(cell: Cell, others: list[str]) -> np.ndarray:
    """Return the `(n, n)` counts of a finished cell's test images.

    Args:
        others: The classes that the cells before it have, if there were any.

    Raises:
        ValueError, TypeError, OverflowError: If the record has no such counts.
    """
    names = cell.class_names
    counts = np.array(cell.record.results["test"].get("confusion"), dtype=float)
    if counts.shape != (len(names), len(names)):
        raise ValueError(f"its shape is {counts.shape} for {len(names)} class names")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("it does not hold counts")
    if others and names != others:
        raise ValueError(f"its classes are {names}, those of other cells {others}")
    return counts
