"""Learning curves, and what the semi-supervised method says of its pseudo-labels."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench.tables.contents import Figure
from sslbench.tables.figures.album import Album, Way, model_place, way_words
from sslbench.tables.figures.look import WIDTH, share_limits
from sslbench.tables.paper import BARLOW, SEMI, Row

DIAGNOSTICS = (
    ("train", "confidence", "mean confidence (%)"),
    ("train", "kept_at_0.95", "confidence ≥ 0.95 (% of images)"),
    ("val", "pseudo_label_accuracy", "pseudo-labels right (%)"),
    ("train", "pseudo_label_max_share", "most frequent pseudo-label (%)"),
)

Curves = dict[Row, pd.DataFrame]
"""The curves of a row's seeds, one below the other, by row."""


def read_curves(album: Album) -> Curves:
    """Read the curves of all rows; those that cannot be read are added to the problems."""
    return {row: _read_row(album, row) for row in album.rows()}


def _read_row(album: Album, row: Row) -> pd.DataFrame:
    frames = [pd.DataFrame(columns=["step", "epoch", "split"])]
    for entry in (album.group.done(row) or album.group.rows[row]).values():
        try:
            curves = entry.cell.curves()
            if len(curves):
                _require_numbers(curves)
                frames.append(curves)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            path = entry.cell.folder / "metrics.jsonl"
            album.report.problems.append(f"{path}: not curves ({error}); they are left out")
    return pd.concat(frames[1:] or frames)


def _require_numbers(curves: pd.DataFrame) -> None:
    for name in ("step", "epoch", "split"):
        if name not in curves:
            raise ValueError(f"no {name}")
    for name, dtype in zip(curves.columns, curves.dtypes, strict=True):
        if name != "split" and dtype.kind not in "iuf":
            raise ValueError(f"{name} is not always a number")


def draw_learning_curves(album: Album, curves: Curves) -> Figure | None:
    """Draw training loss and validation accuracy, a column per way of training."""
    panels = [("train", "loss", "train loss", 1), ("val", "accuracy", "val accuracy (%)", 100)]
    bands = {
        (way, split): {
            model: band * [1, scale, scale, 1]
            for model, row in rows.items()
            if len(band := _band(curves[row], split, metric))
        }
        for way, rows in album.grid.items()
        for split, metric, _, scale in panels
    }
    ways = [way for way in album.grid if any(bands[way, split] for split, *_ in panels)]
    if not ways:
        return None
    height = 4.2 + album.title_inches(ways)
    canvas = Canvas((max(WIDTH, 1.8 * len(ways)), height), layout="constrained")
    axes = canvas.subplots(2, len(ways), squeeze=False, sharex="col", sharey=False)
    for column, way in enumerate(ways):
        for ax, (split, _, label, _) in zip(axes[:, column], panels, strict=True):
            _draw_bands(album, ax, bands[way, split])
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(album.way_title(way))
        axes[1, column].set_xlabel(_epoch_label(way))
    share_limits(axes[1])
    album.add_legend(canvas, album.models)
    frame = pd.concat(
        {
            (*way_words(way), split, model): band
            for (way, split), found in bands.items()
            for model, band in found.items()
        },
        names=["method", "from", "split", "model", "step"],
    )
    return album.save(
        canvas,
        "curves",
        "Learning curves",
        "Lines: means over seeds; bands: one standard deviation. Training loss is of augmented "
        "images and has another meaning for each method. Epochs are passes over the labelled "
        "images, for the self-supervised method over the unlabelled ones. Where no seed of a "
        "row has finished, the curve ends where training is.",
        frame,
    )


def draw_pseudo_labels(album: Album, curves: Curves) -> Figure | None:
    """Draw what the semi-supervised method says of its pseudo-labels."""
    rows = album.grid.get((SEMI, None), {})
    bands = {
        (split, metric): {
            model: band * [1, 100, 100, 1]
            for model, row in rows.items()
            if len(band := _band(curves[row], split, metric))
        }
        for split, metric, _ in DIAGNOSTICS
    }
    if not any(bands.values()):
        return None
    canvas = Canvas((WIDTH, 4.4), layout="constrained")
    axes = canvas.subplots(2, 2, sharex=True, sharey=True)
    for ax, (split, metric, title) in zip(axes.flat, DIAGNOSTICS, strict=True):
        _draw_bands(album, ax, bands[split, metric])
        ax.set_title(title)
        ax.set_ylim(0, 102)
    for ax in axes[1]:
        ax.set_xlabel(_epoch_label((SEMI, None)))
    for ax in axes[:, 0]:
        ax.set_ylabel("share (%)")
    album.add_legend(canvas, [model for model in album.models if model in rows])
    frame = pd.concat(
        {
            (metric, model): band
            for (_, metric), found in bands.items()
            for model, band in found.items()
        },
        names=["figure", "model", "step"],
    )
    return album.save(
        canvas,
        "pseudo-labels",
        f"Pseudo-labels over time, {album.way_title((SEMI, None), ' ')}",
        "Lines: means over seeds; bands: one standard deviation. Right: of labels that weak "
        "views of validation images would get. Most frequent: the share of the class that gets "
        "most labels, 10 % where ten classes get as many; 100 % is collapse.",
        frame,
    )


def _band(curves: pd.DataFrame, split: str, metric: str) -> pd.DataFrame:
    """Return `epoch`, `mean`, `deviation` (0 for one seed) and `n` over seeds, by step."""
    if metric not in curves:
        return pd.DataFrame()
    points = curves[curves["split"] == split].dropna(subset=[metric])
    by_step = points.groupby("step")
    return pd.DataFrame(
        {
            "epoch": by_step["epoch"].first(),
            "mean": by_step[metric].mean(),
            "deviation": by_step[metric].std().fillna(0),
            "n": by_step[metric].count(),
        }
    )


def _draw_bands(album: Album, ax: Axes, bands: dict[str, pd.DataFrame]) -> None:
    for model, band in bands.items():
        color, marker = album.lines[model]
        every = max(1, len(band) // 6)
        style = {"color": color, "marker": marker}
        ax.plot(
            band["epoch"], band["mean"], markevery=(model_place(model)[0] % every, every), **style
        )
        low, high = band["mean"] - band["deviation"], band["mean"] + band["deviation"]
        ax.fill_between(band["epoch"], low, high, color=color, alpha=0.2, linewidth=0)
    ax.grid()


def _epoch_label(way: Way) -> str:
    return "epoch (unlabelled)" if way[0] == BARLOW else "epoch (labelled)"
