"""Learning curves, and what the semi-supervised method says of its pseudo-labels."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench.cell.curves import CURVES
from sslbench.cell.curves import read_curves as read_points
from sslbench.tables.contents import Picture
from sslbench.tables.paper import SEMI, Row
from sslbench.tables.pictures.album import Album, Way, model_place, way_words
from sslbench.tables.pictures.look import WIDTH, share_limits

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
    for cell in (album.group.done(row) or album.group.rows[row]).values():
        path = cell.folder / CURVES
        try:
            curves = pd.DataFrame(read_points(path))
            if len(curves):
                _require_numbers(curves)
                frames.append(curves)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            album.report.problems.append(f"{path}: not curves ({error}); they are left out")
    return pd.concat(frames[1:] or frames)


def _require_numbers(curves: pd.DataFrame) -> None:
    missing = {"step", "epoch", "split"} - set(curves)
    wrong = set(curves) - set(curves.select_dtypes("number")) - {"split"}
    if missing or wrong:
        raise ValueError(f"no {missing}" if missing else f"{wrong} are not always numbers")


def draw_learning_curves(album: Album, curves: Curves) -> Picture | None:
    """Draw training loss and validation accuracy, a column per way of training."""
    panels = [("train", "loss", "train loss", 1), ("val", "accuracy", "val accuracy (%)", 100)]
    bands = {
        (way, split): _bands(curves, rows, split, metric, scale)
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
        axes[1, column].set_xlabel(_epoch_label(album, way))
    share_limits(axes[1])
    album.add_legend(canvas, album.models)
    return album.save(
        canvas,
        "curves",
        "Learning curves",
        "Lines: means over seeds; bands: one standard deviation. Training loss is of augmented "
        "images and has another meaning for each method. Epochs are passes over the labelled "
        "images, for the self-supervised method over the unlabelled ones. Where no seed of a "
        "row has finished, the curve ends where training is.",
        _frame(
            {(*way_words(way), split): found for (way, split), found in bands.items()},
            ["method", "from", "split"],
        ),
    )


def draw_pseudo_labels(album: Album, curves: Curves) -> Picture | None:
    """Draw what the semi-supervised method says of its pseudo-labels."""
    way = (SEMI, None)
    rows = album.grid.get(way, {})
    bands = [_bands(curves, rows, split, metric, 100) for split, metric, _ in DIAGNOSTICS]
    if not any(bands):
        return None
    canvas = Canvas((WIDTH, 4.4), layout="constrained")
    axes = canvas.subplots(2, 2, sharex=True, sharey=True)
    for ax, found, (*_, title) in zip(axes.flat, bands, DIAGNOSTICS, strict=True):
        _draw_bands(album, ax, found)
        ax.set_title(title)
        ax.set_ylim(0, 102)
    for ax in axes[1]:
        ax.set_xlabel(_epoch_label(album, way))
    for ax in axes[:, 0]:
        ax.set_ylabel("share (%)")
    album.add_legend(canvas, [model for model in album.models if model in rows])
    metrics = [metric for _, metric, _ in DIAGNOSTICS]
    return album.save(
        canvas,
        "pseudo-labels",
        f"Pseudo-labels over time, {album.way_title(way, ' ')}",
        "Lines: means over seeds; bands: one standard deviation. Right: of labels that weak "
        "views of validation images would get. Most frequent: the share of the class that gets "
        "most labels, 10 % where ten classes get as many; 100 % is collapse.",
        _frame(
            {(metric,): found for metric, found in zip(metrics, bands, strict=True)}, ["metric"]
        ),
    )


def _bands(
    curves: Curves, rows: dict[str, Row], split: str, metric: str, scale: float
) -> dict[str, pd.DataFrame]:
    """Return the bands of those models that have the metric."""
    bands = {model: _band(curves[row], split, metric, scale) for model, row in rows.items()}
    return {model: band for model, band in bands.items() if len(band)}


def _frame(bands: dict[tuple, dict[str, pd.DataFrame]], names: list[str]) -> pd.DataFrame:
    """Put bands by key and model one below the other; `names` are of the keys' parts."""
    return pd.concat(
        {(*key, model): band for key, found in bands.items() for model, band in found.items()},
        names=[*names, "model", "step"],
    )


def _band(curves: pd.DataFrame, split: str, metric: str, scale: float) -> pd.DataFrame:
    """Return `epoch`, `mean`, `deviation` (0 for one seed) and `n` over seeds, by step."""
    if metric not in curves:
        return pd.DataFrame()
    points = curves[curves["split"] == split].dropna(subset=[metric])
    by_step = points.groupby("step")
    return pd.DataFrame(
        {
            "epoch": by_step["epoch"].first(),
            "mean": scale * by_step[metric].mean(),
            "deviation": scale * by_step[metric].std().fillna(0),
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


def _epoch_label(album: Album, way: Way) -> str:
    row = next(iter(album.grid[way].values()))
    counted = next(iter(album.group.rows[row].values())).streams[0]
    return "epoch (unlabelled)" if counted == "unlabeled" else "epoch (labelled)"
