"""Learning curves, and what the semi-supervised method says of its pseudo-labels."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench.cell import curves
from sslbench.tables.contents import Picture
from sslbench.tables.paper import SEMI
from sslbench.tables.pictures.album import WIDTH, Album, way_words

LEARNING = {("train", "loss"): "train loss", ("val", "accuracy"): "val accuracy (%)"}
DIAGNOSTICS = {
    ("train", "confidence"): "mean confidence (%)",
    ("train", "kept_at_0.95"): "confidence ≥ 0.95 (% of images)",
    ("val", "pseudo_label_accuracy"): "pseudo-labels right (%)",
    ("train", "pseudo_label_max_share"): "most frequent pseudo-label (%)",
}
PANEL = ["method", "from", "split", "metric"]
NOTE = "Lines: means over seeds; bands: one standard deviation. "

Bands = dict[tuple[str, ...], pd.DataFrame]
"""By method, start, split and metric: `epoch`, `mean`, `deviation` and `n` by model and step."""


def draw_curves(album: Album) -> Iterator[Picture]:
    """Draw learning curves, and those of pseudo-labels; what cannot be read becomes a problem."""
    found = []
    for row in album.rows:
        method, init = way_words((row.method, row.init))
        for cell in (album.group.done(row) or album.group.rows[row]).values():
            path = cell.folder / curves.CURVES
            try:
                points = _numbers(curves.read_curves(path))
                found.append(points.assign(**{"method": method, "from": init, "model": row.model}))
            except (ValueError, TypeError, AttributeError, OSError) as error:
                album.report.problems.append(f"{path}: not curves ({error}); they are left out")
    if any(map(len, found)):
        bands = _bands(pd.concat(found))
        yield from _draw_learning(album, bands)
        yield from _draw_pseudo_labels(album, bands)


def _numbers(points: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(points)
    missing = {"step", "epoch", "split"} - set(frame)
    wrong = missing | set(frame) - set(frame.select_dtypes("number")) - {"split"}
    if points and wrong:
        raise ValueError(f"{wrong} are not always numbers")
    return frame


def _bands(points: pd.DataFrame) -> Bands:
    values = points.melt([*PANEL[:3], "model", "step", "epoch"], var_name="metric").dropna()
    values["value"] *= values["metric"].map({"loss": 1}).fillna(100)  # percent but for losses
    by_step = values.groupby([*PANEL, "model", "step"])
    spread = {"mean": ("value", "mean"), "deviation": ("value", "std"), "n": ("value", "count")}
    return dict(list(by_step.agg(epoch=("epoch", "first"), **spread).groupby(PANEL)))


def _draw_learning(album: Album, bands: Bands) -> Iterator[Picture]:
    """Draw training loss and validation accuracy, a column per way of training."""
    keys = {way: [(*way_words(way), *panel) for panel in LEARNING] for way in album.grid}
    ways = [way for way in album.grid if not bands.keys().isdisjoint(keys[way])]
    if not ways:
        return
    canvas = Canvas((max(WIDTH, 1.8 * len(ways)), 3.8 + album.title_inches(ways)))
    axes = canvas.subplots(2, len(ways), squeeze=False, sharex="col")
    for column, way in zip(axes.T, ways, strict=True):
        column[1].sharey(axes[1, 0])
        column[0].set_title(album.way_title(way))
        column[1].set_xlabel("epoch")
        for ax, key in zip(column, keys[way], strict=True):
            _draw(album, ax, bands.get(key))
    for ax, label in zip(axes[:, 0], LEARNING.values(), strict=True):
        ax.set_ylabel(label)
    album.add_legend(canvas, album.models)
    caption = f"{NOTE}Training loss has another meaning for each method."
    frame = pd.concat([bands[key] for way in ways for key in keys[way] if key in bands])
    yield album.save(canvas, "curves", "Learning curves", caption, frame)


def _draw_pseudo_labels(album: Album, bands: Bands) -> Iterator[Picture]:
    """Draw what the semi-supervised method says of its pseudo-labels."""
    way = (SEMI, None)
    keys = [(*way_words(way), *panel) for panel in DIAGNOSTICS]
    drawn = [bands[key] for key in keys if key in bands]
    if not drawn:
        return
    canvas = Canvas()
    axes = canvas.subplots(2, 2, sharex=True, sharey=True)
    for ax, key, title in zip(axes.flat, keys, DIAGNOSTICS.values(), strict=True):
        _draw(album, ax, bands.get(key))
        ax.set(title=title, ylim=(0, 102), xlabel="epoch", ylabel="share (%)")
        ax.label_outer()
    album.add_legend(canvas, list(album.grid[way]))
    title = f"Pseudo-labels over time, {' '.join(album.way_title(way).split())}"
    caption = f"{NOTE}Right: of labels that weak views of validation images would get."
    yield album.save(canvas, "pseudo-labels", title, caption, pd.concat(drawn))


def _draw(album: Album, ax: Axes, bands: pd.DataFrame | None) -> None:
    for number, (model, band) in enumerate(() if bands is None else bands.groupby("model")):
        color, marker = album.lines[model]
        style = {"color": color, "marker": marker, "markevery": (0.03 * number, 0.15)}
        ax.plot(band["epoch"], band["mean"], **style)
        low, high = band["mean"] - band["deviation"], band["mean"] + band["deviation"]
        ax.fill_between(band["epoch"], low, high, color=color, alpha=0.2, linewidth=0)
