"""Learning curves, one panel a way of training, and what methods say of their pseudo-labels."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.cell import curves
from sslbench.tables.contents import Picture
from sslbench.tables.gather import DAMAGE
from sslbench.tables.pictures.album import (
    COLLAPSED,
    WIDTH,
    Album,
    Way,
    listed,
    part,
    way_of,
    way_words,
)

Panel = tuple[str, str]
"""A split and a metric of it."""
ACCURACY, LOSS = ("val", "accuracy"), ("train", "loss")
RIGHT = ("val", "pseudo_label_accuracy")
DIAGNOSTICS = {
    RIGHT: "labels right (%)",
    ("train", "confidence"): "confidence (%)",
    ("train", "kept_at_0.95"): "above 0.95 (%)",
    ("train", "pseudo_label_max_share"): "most frequent (%)",
}
COLUMNS = 3
MAX_TICKS = 4
"""Steps between those of an axis, at most: they are half the time of drawing."""
MAX_POINTS = 120
"""Of a line that are drawn; the data have all of them."""
NOTE = "Lines: means over seeds; bands: from the lowest seed to the highest. "

Bands = dict[tuple[Way, Panel], pd.DataFrame]
"""By way and panel: `epoch`, `mean`, `low`, `high` and `n` by model and step."""


def draw_curves(album: Album) -> Iterator[Picture]:
    """Draw learning curves, and those of pseudo-labels; what cannot be read becomes a problem."""
    found, ways = [], list(album.grid)
    for row in album.rows:
        way = ways.index(way_of(row))
        for cell in (album.group.done(row) or album.group.rows[row]).values():
            path = cell.folder / curves.CURVES
            try:
                points = curves.read_curves(path)
                _require_numbers(points)
                found += [point | {"way": way, "model": row.model} for point in points]
            except DAMAGE as error:
                album.problems.append(f"{path}: not curves ({error}); they are left out")
    if found:
        bands = _bands(pd.DataFrame(found), ways)
        note = f"{NOTE}At the end, where one collapsed: a cross. "
        yield from _draw_panels(album, bands, ACCURACY, "curves", "Validation accuracy", note)
        note = f"{NOTE}It has another meaning for each method. "
        yield from _draw_panels(album, bands, LOSS, "losses", "Training loss", note)
        yield from _draw_pseudo_labels(album, bands)


def _require_numbers(points: list[dict[str, Any]]) -> None:
    missing = {"step", "epoch", "split"}.difference(*points)
    values = ((name, it) for point in points for name, it in point.items() if name != "split")
    wrong = {name for name, it in values if not (it is None or _is_number(it))}
    if points and missing | wrong:
        raise ValueError(f"{missing | wrong} are not always numbers")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _bands(points: pd.DataFrame, ways: list[Way]) -> Bands:
    drawn = {metric for _, metric in (ACCURACY, LOSS, *DIAGNOSTICS)}.intersection(points)
    keys = ["way", "split", "model", "step", "epoch"]
    values = points.melt(keys, sorted(drawn), var_name="metric").dropna()
    values["value"] *= values["metric"].map({"loss": 1}).fillna(100)  # percent but for losses
    by_step = values.groupby(["way", "split", "metric", "model", "step"])["value"]
    spread = by_step.agg(["mean", "min", "max", "count"]).set_axis(
        ["mean", "low", "high", "n"], axis=1
    )
    spread["epoch"] = values.groupby(spread.index.names)["epoch"].first()
    grouped = spread.groupby(["way", "split", "metric"])
    return {(ways[way], (split, metric)): band for (way, split, metric), band in grouped}


def _draw_panels(
    album: Album, bands: Bands, panel: Panel, name: str, title: str, note: str
) -> Iterator[Picture]:
    """Draw one metric, a panel a way of training, the models in it."""
    ways = [way for way in album.grid if (way, panel) in bands]
    if not ways:
        return
    columns = min(COLUMNS, len(ways))
    lines = -(-len(ways) // columns)
    canvas = Canvas((WIDTH, 0.5 + lines * (1.7 + album.title_inches(ways))))
    axes = canvas.subplots(lines, columns, squeeze=False, sharey=panel == ACCURACY)
    for ax, way in zip(axes.flat, ways, strict=False):
        ax.set_title(album.way_title(way))
        ax.set_xlabel("epoch")
        _draw(album, ax, way, bands[way, panel])
    for ax in axes.flat[len(ways) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy (%)" if panel == ACCURACY else "loss")
    drawn = {way: bands[way, panel] for way in ways}
    album.add_legend(canvas, _models(album, drawn), collapsed=_any_collapsed(album, ways))
    yield album.save(
        canvas, name, f"{title} while training", note, _frame(drawn), _told(album, title, drawn)
    )


def _draw_pseudo_labels(album: Album, bands: Bands) -> Iterator[Picture]:
    """Draw what methods say of their pseudo-labels, a column a way of training."""
    ways = [way for way in album.grid if any((way, panel) in bands for panel in DIAGNOSTICS)]
    rows = [row for way in ways for row in album.grid[way].values()]
    for end, few in album.pages(rows):
        page = list(dict.fromkeys(map(way_of, few)))
        canvas = Canvas((WIDTH, 0.6 + 1.35 * len(DIAGNOSTICS) + album.title_inches(page)))
        options = {"squeeze": False, "sharex": "col", "sharey": True}
        axes = canvas.subplots(len(DIAGNOSTICS), len(page), **options)
        for column, way in zip(axes.T, page, strict=True):
            column[0].set_title(album.way_title(way))
            column[-1].set_xlabel("epoch")
            for ax, panel in zip(column, DIAGNOSTICS, strict=True):
                _draw(album, ax, way, bands.get((way, panel)))
        for ax, label in zip(axes[:, 0], DIAGNOSTICS.values(), strict=True):
            ax.set(ylabel=label, ylim=(0, 102))
        found = {
            key: band for key, band in bands.items() if key[0] in page and key[1] in DIAGNOSTICS
        }
        album.add_legend(canvas, _models(album, found), collapsed=_any_collapsed(album, page))
        frames = [
            _frame({way: bands[way, panel] for way in page if (way, panel) in bands})
            for panel in DIAGNOSTICS
        ]
        right = {way: bands[way, RIGHT] for way in page if (way, RIGHT) in bands}
        caption = (
            f"{NOTE}Labels right: of those that weak views of validation images would get. Most "
            "frequent: the share of the class that most images are labelled as; 100 is collapse."
        )
        name, title = f"pseudo-labels{end}", f"Pseudo-labels while training{part(end)}"
        alt = _told(album, "Share of right pseudo-labels", right)
        yield album.save(canvas, name, title, caption, pd.concat(frames), alt)


def _draw(album: Album, ax: Axes, way: Way, bands: pd.DataFrame | None) -> None:
    ax.locator_params(nbins=MAX_TICKS)
    for number, (model, band) in enumerate(() if bands is None else bands.groupby("model")):
        color, marker = album.lines[model]
        places = np.linspace(0, len(band) - 1, min(len(band), MAX_POINTS)).round().astype(int)
        epoch, mean, low, high = band[["epoch", "mean", "low", "high"]].to_numpy()[places].T
        style = {"color": color, "marker": marker, "markevery": (0.03 * number, 0.15)}
        ax.plot(epoch, mean, **style)
        if band["n"].max() > 1:
            ax.fill_between(epoch, low, high, color=color, alpha=0.2, linewidth=0)
        if album.has_collapsed(album.grid[way][model]):
            _, (alarm, cross) = COLLAPSED
            ax.plot(epoch[-1], mean[-1], color=alarm, marker=cross, markersize=7)


def _models(album: Album, drawn: dict[Any, pd.DataFrame]) -> list[str]:
    """Return the models that have a line: what has just begun has none of some metrics."""
    found = {model for bands in drawn.values() for model in bands.index.get_level_values("model")}
    return [model for model in album.models if model in found]


def _any_collapsed(album: Album, ways: list[Way]) -> bool:
    return any(album.has_collapsed(row) for way in ways for row in album.grid[way].values())


def _frame(drawn: dict[Way, pd.DataFrame]) -> pd.DataFrame:
    """Name the ways of training in columns of their own."""
    frames = {(*way_words(way), way.ratio or ""): frame for way, frame in drawn.items()}
    flat = {key: frame.droplevel("way") for key, frame in frames.items()}
    return pd.concat(flat, names=["method", "from", "ratio"])


def _told(album: Album, what: str, drawn: dict[Way, pd.DataFrame]) -> str:
    """Say how the curves end, and which of them collapsed."""
    ends = []
    for way, bands in drawn.items():
        last = bands["mean"].groupby("model").last()
        named = {paper.title(model): value for model, value in last.items()}
        crossed = [paper.title(m) for m in last.index if album.has_collapsed(album.grid[way][m])]
        ends.append(
            f"{album.way_name(way)}: {listed(named)}"
            + (f" ({', '.join(crossed)} collapsed)" if crossed else "")
        )
    return f"{what} against epochs, one line a model. At the end, {'; '.join(ends)}."
