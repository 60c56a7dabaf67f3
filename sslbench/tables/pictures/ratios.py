"""Accuracy against unlabelled images per labelled one, for each method with several ratios."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.paper import SEMI, TABLE_4, TEST, TRAIN, VAL
from sslbench.scatter import add_legend
from sslbench.tables.contents import Picture
from sslbench.tables.groups import slug, unlabeled_per_labeled
from sslbench.tables.pictures.album import COLLAPSED, WIDTH, Album, listed

METRICS = (TRAIN, VAL, TEST)
PLACE = ["metric", "model", "x", "ratio"]


def draw_ratios(album: Album) -> Iterator[Picture]:
    """Draw accuracy against the ratio, each seed a point, beside the paper's; mark collapse."""
    for method in dict.fromkeys(way.method for way in album.grid if way.init is None):
        rows = [row for row in album.rows if row.method == method and row.init is None]
        rows = [row for row in rows if row.ratio and album.group.done(row)]
        if len({row.ratio for row in rows}) > 1:
            yield _draw(album, method, rows)


def _draw(album: Album, method: str, rows: list[paper.Row]) -> Picture:
    ratios = sorted({row.ratio for row in rows}, key=unlabeled_per_labeled)
    values = pd.DataFrame(
        {"metric": metric.title, "model": row.model, "x": ratios.index(row.ratio)}
        | {"ratio": row.ratio, "seed": seed, "collapsed": cell.collapse is not None}
        | {"accuracy": 100 * cell.value(metric)}
        for row in rows
        for seed, cell in album.group.done(row).items()
        for metric in METRICS
    )
    reported = TABLE_4 if album.group.is_paper and method == SEMI else {}
    canvas = Canvas((WIDTH, 3.1))
    axes = canvas.subplots(1, len(METRICS), sharey=True, sharex=True)
    for ax, metric in zip(axes, METRICS, strict=True):
        for model, line in values[values["metric"] == metric.title].groupby("model"):
            color, marker = album.lines[model]
            means = line.groupby("x")["accuracy"].mean()
            ax.plot(means, color=color, marker=marker)
            ax.plot(line["x"], line["accuracy"], ".", color=color, alpha=0.5)
            _, (alarm, cross) = COLLAPSED
            low = line[line["collapsed"]]
            ax.plot(low["x"], low["accuracy"], cross, color=alarm, markersize=7)
            theirs = {
                ratios.index(row.ratio): 100 * accuracies[metric]
                for row, accuracies in reported.items()
                if row.model == model and row.ratio in ratios and metric in accuracies
            }
            ax.plot(list(theirs), list(theirs.values()), f"{marker}:", c=color, mfc="none", lw=1)
        ax.set(title=metric.title.replace("acc", "accuracy"), xlabel="labelled : unlabelled")
        ax.set_xticks(range(len(ratios)), ratios)
    axes[0].set_ylabel("accuracy (%)")
    _add_legend(album, canvas, values, beside_paper=bool(reported))
    frame = values.groupby(PLACE, as_index=False)["accuracy"].agg(["count", "mean", "std"])
    name = "ratios" if method == SEMI else f"ratios-{slug(method)}"
    return album.save(
        *(canvas, name, f"Accuracy by ratio, {paper.title(method)}", _caption(bool(reported))),
        *(frame.drop(columns="x").set_index(["metric", "model", "ratio"]), _told(values)),
    )


def _add_legend(album: Album, canvas: Canvas, values: pd.DataFrame, *, beside_paper: bool) -> None:
    models = [model for model in album.models if model in set(values["model"])]
    styles = [(paper.title(model), album.lines[model]) for model in models]
    if values["collapsed"].any():
        styles.append(COLLAPSED)
    add_legend(canvas, styles, hollow="the paper's" if beside_paper else "")


def _caption(beside_paper: bool) -> str:
    caption = "Large points and lines: means over seeds; small points: one seed each."
    return caption + " Dotted, hollow: the paper's table 4." * beside_paper


def _told(values: pd.DataFrame) -> str:
    """Say the means of test accuracy, and what collapsed."""
    of_test = values[values["metric"] == TEST.title]
    parts = []
    for model, line in of_test.groupby("model", sort=False):
        means = line.groupby(["x", "ratio"])["accuracy"].mean().droplevel("x").to_dict()
        crossed = line.loc[line["collapsed"], "ratio"].unique()
        end = f" ({', '.join(crossed)} collapsed)" if len(crossed) else ""
        parts.append(f"{paper.title(model)}: {listed(means)}{end}")
    return (
        "Training, validation and test accuracy against unlabelled images per labelled one, one "
        f"line a model. Test accuracy in percent: {'; '.join(parts)}."
    )
