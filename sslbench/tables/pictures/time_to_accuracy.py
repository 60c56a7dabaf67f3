"""Validation accuracy against the seconds and the operations that training took until then."""

from collections.abc import Iterator
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator

from sslbench import paper
from sslbench.palette import INK
from sslbench.scatter import short
from sslbench.tables.contents import Picture
from sslbench.tables.pictures.album import WIDTH, Album, listed, way_of, way_words
from sslbench.tables.time_to_accuracy import COLUMNS, COSTS, read_validations

AXES = {"seconds": "seconds of training steps", "flops": "floating-point operations"}
STYLES = ("-", "--", ":", "-.")
"""Of ways of training; colours and markers are of models."""
TICKS = (1, 3)
"""Within each power of ten."""
SPREAD = {"accuracy": "mean", "low": "min", "high": "max"}
PLACES = ["method", "from", "model", "step"]


def draw_time_to_accuracy(album: Album) -> Iterator[Picture]:
    """Draw each finished row's mean over seeds, where curves say what training took."""
    found, ways = [], list(album.grid)
    for row in album.rows:
        place = ways.index(way_of(row)), *way_words((row.method, row.init)), row.model
        for cell in album.group.done(row).values():
            points = read_validations(cell, album.problems)
            found += [(*place, *point) for point in points.tolist()]
    if not found:
        return
    points = pd.DataFrame(found, columns=["way", *PLACES[:3], *COLUMNS])
    points["accuracy"] *= 100
    # A mean over ratios would be of none: the last is that with the most unlabelled images.
    points = points[points["way"] == points.groupby(PLACES[:2])["way"].transform("max")]
    spread = {name: ("accuracy", of) for name, of in SPREAD.items()}
    costs = {name: (name, "mean") for name in COSTS}
    lines = points.groupby(PLACES).agg(**spread, n=("accuracy", "count"), **costs)
    drawn = [ways[number] for number in sorted(set(points["way"]))]
    styles = dict(zip(map(way_words, drawn), cycle(STYLES), strict=False))
    canvas = Canvas((WIDTH, 3.4))
    axes = canvas.subplots(1, 2, sharey=True)
    for (method, start, model), line in lines.groupby(level=PLACES[:3]):
        color, marker = album.lines[model]
        look = {"color": color, "marker": marker, "markevery": 0.15}
        for ax, name in zip(axes, COSTS, strict=True):
            ax.plot(line[name], line["accuracy"], styles[method, start], **look)
            ax.fill_between(
                line[name], line["low"], line["high"], color=color, alpha=0.2, linewidth=0
            )
    for ax, name in zip(axes, COSTS, strict=True):
        ax.set(xscale="log", xlabel=AXES[name])
        ax.xaxis.set_major_locator(LogLocator(subs=TICKS))
        ax.xaxis.set_major_formatter(EngFormatter(places=0) if name == "flops" else "{x:g}")
        ax.minorticks_off()
    axes[0].set_ylabel("val accuracy (%)")
    named = [(styles[way_words(way)], album.way_name(way)) for way in drawn]
    handles = [Line2D([], [], color=INK, ls=style, label=short(name)) for style, name in named]
    axes[0].legend(handles=handles, loc="upper left")
    album.add_legend(canvas, [model for model in album.models if model in set(points["model"])])
    caption = (
        "Lines: means over seeds; bands: from the lowest seed to the highest. Of several ratios, "
        "the one with the most unlabelled images. Validations and checkpoints are left out."
    )
    yield album.save(
        *(canvas, "time-to-accuracy", "Time to accuracy", caption, lines, _told(lines))
    )


def _told(lines: pd.DataFrame) -> str:
    """Say the best means of validation accuracy, by way of training and model."""
    best = lines["accuracy"].groupby(level=PLACES[:3], sort=False).max()
    named = {
        " ".join(filter(None, (method, f"from {start}" if start else "", paper.title(model)))): it
        for (method, start, model), it in best.items()
    }
    return (
        "Validation accuracy against seconds and floating-point operations of training, one line a "
        f"model and way of training. The best in percent: {listed(named)}."
    )
