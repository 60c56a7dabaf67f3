"""Accuracy of the semi-supervised method against unlabelled images per labelled one."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.tables import paper
from sslbench.tables.contents import Picture
from sslbench.tables.groups import unlabeled_per_labeled
from sslbench.tables.paper import SEMI, TEST, TRAIN, VAL, Row
from sslbench.tables.pictures.album import Album, model_place
from sslbench.tables.pictures.look import WIDTH


def draw_ratios(album: Album) -> Picture | None:
    """Draw accuracy against unlabelled images per labelled one, beside the paper's."""
    group = album.group
    rows = [row for row in group.rows if row.method == SEMI and row.init is None]
    rows = sorted((row for row in rows if np.isfinite(_unlabeled(row))), key=_unlabeled)
    found = [
        {"model": row.model, "ratio": row.ratio, "x": _unlabeled(row)}
        | {"metric": metric.title, "n": len(values), "mean": 100 * np.mean(values)}
        | {"deviation": 100 * np.std(values, ddof=1) if len(values) > 1 else np.nan}
        for row in rows
        for metric in (TRAIN, VAL, TEST)
        if (values := [cell.value(metric) for cell in group.done(row).values()])
    ]
    if len({each["ratio"] for each in found}) < 2:
        return None
    frame = pd.DataFrame(found)
    canvas = Canvas((WIDTH, 2.9), layout="constrained")
    axes = canvas.subplots(1, 3, sharey=True, sharex=True)
    for ax, metric in zip(axes, (TRAIN, VAL, TEST), strict=True):
        of_metric = frame[frame["metric"] == metric.title]
        for shift, (model, line) in enumerate(of_metric.groupby("model")):
            color, marker = album.lines[model]
            ax.errorbar(
                line["x"] * 1.03 ** (shift - 1),  # so that error bars do not hide each other
                line["mean"],
                line["deviation"].fillna(0),
                color=color,
                marker=marker,
                capsize=2,
            )
            if group.is_paper:
                reported = _reported(model, metric)
                style = {"color": color, "marker": marker, "markerfacecolor": "white"}
                ax.plot(*reported, linestyle=":", linewidth=1, **style)
        ax.set(xscale="log", title=metric.title.replace("acc", "accuracy"))
        places = frame.drop_duplicates("ratio")
        ax.set_xticks(places["x"], places["ratio"])
        ax.minorticks_off()
        ax.set_xlabel("labelled : unlabelled")
        ax.grid(axis="y")
    axes[0].set_ylabel("accuracy (%)")
    album.add_legend(canvas, sorted(frame["model"].unique(), key=model_place))
    beside = " Dotted, hollow: the paper's table 4." if group.is_paper else ""
    return album.save(
        canvas,
        "ratios",
        "Semi-supervised accuracy against the ratio",
        f"Means over seeds; bars: one standard deviation.{beside}",
        frame.drop(columns="x").set_index(["metric", "model", "ratio"]),
    )


def _reported(model: str, metric: paper.Metric) -> tuple[list[float], list[float]]:
    """Return table 4's unlabelled images per labelled one, and accuracies in percent."""
    rows = [row for row in paper.TABLE_4 if row.model == model and metric in paper.TABLE_4[row]]
    return [_unlabeled(row) for row in rows], [100 * paper.TABLE_4[row][metric] for row in rows]


def _unlabeled(row: Row) -> float:
    return unlabeled_per_labeled(row.ratio)
