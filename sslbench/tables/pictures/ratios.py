"""Accuracy of the semi-supervised method against unlabelled images per labelled one."""

from collections.abc import Iterator
from math import isfinite

import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.tables.contents import Picture
from sslbench.tables.groups import unlabeled_per_labeled
from sslbench.tables.paper import SEMI, TABLE_4, TEST, TRAIN, VAL
from sslbench.tables.pictures.album import WIDTH, Album


def draw_ratios(album: Album) -> Iterator[Picture]:
    """Draw accuracy against unlabelled images per labelled one, beside the paper's."""
    group = album.group
    values = pd.DataFrame(
        {"metric": metric.title, "model": row.model, "ratio": row.ratio}
        | {"x": unlabeled_per_labeled(row.ratio), "accuracy": 100 * cell.value(metric)}
        for row in group.rows
        if row.method == SEMI and row.init is None and isfinite(unlabeled_per_labeled(row.ratio))
        for cell in group.done(row).values()
        for metric in (TRAIN, VAL, TEST)
    )
    if values.empty or values["ratio"].nunique() < 2:
        return
    places = ["metric", "model", "x", "ratio"]
    frame = values.groupby(places, as_index=False)["accuracy"].agg(["count", "mean", "std"])
    canvas = Canvas((WIDTH, 2.9))
    axes = canvas.subplots(1, 3, sharey=True, sharex=True)
    for ax, metric in zip(axes, (TRAIN, VAL, TEST), strict=True):
        of_metric = frame[frame["metric"] == metric.title]
        for shift, (model, line) in enumerate(of_metric.groupby("model")):
            color, marker = album.lines[model]
            places = line["x"] * 1.03 ** (shift - 1)  # so that error bars do not hide each other
            ax.errorbar(places, line["mean"], line["std"], color=color, marker=marker)
            reported = {
                unlabeled_per_labeled(row.ratio): 100 * accuracies[metric]
                for row, accuracies in TABLE_4.items()
                if group.is_paper and row.model == model and metric in accuracies
            }
            ax.plot(
                list(reported), list(reported.values()), f"{marker}:", c=color, mfc="white", lw=1
            )
        ax.set(xscale="log", title=metric.title.replace("acc", "accuracy"))
        ax.set_xlabel("labelled : unlabelled")
        ticks = frame.drop_duplicates("ratio")
        ax.set_xticks(ticks["x"], ticks["ratio"])
        ax.minorticks_off()
    axes[0].set_ylabel("accuracy (%)")
    album.add_legend(canvas, [model for model in album.models if model in set(frame["model"])])
    caption = "Means over seeds; bars: one standard deviation."
    caption += " Dotted, hollow: the paper's table 4." if group.is_paper else ""
    frame = frame.drop(columns="x").set_index(["metric", "model", "ratio"])
    yield album.save(canvas, "ratios", "Semi-supervised accuracy by ratio", caption, frame)
