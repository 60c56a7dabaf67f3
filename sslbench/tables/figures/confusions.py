"""Which classes the test images are taken for."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.tables.contents import Figure
from sslbench.tables.figures.album import Album, class_names, way_words
from sslbench.tables.figures.look import NUMBERED_FROM, number_cells
from sslbench.tables.groups import Entry


def draw_confusions(album: Album) -> Figure | None:
    """Draw the test images' classes against those they were taken for."""
    shares, names = {}, []
    for row in album.rows():
        entries = list(album.group.done(row).values())
        if entries and "confusion" in entries[0].cell.record.results["test"]:
            counts = sum(np.array(_results(entry)["confusion"]) for entry in entries)
            shares[row] = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            names = class_names(entries[0])
    if not shares:
        return None
    ways, models = album.with_data(shares)
    canvas = Canvas((1.3 + 2.05 * len(models), 0.9 + 2.05 * len(ways)), layout="constrained")
    axes = canvas.subplots(len(ways), len(models), squeeze=False)
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
    bar = canvas.colorbar(image, ax=axes, location="right", aspect=40, shrink=0.6)
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


def _results(entry: Entry) -> dict:
    assert entry.cell.record is not None
    return entry.cell.record.results["test"]
