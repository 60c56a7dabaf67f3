"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from sslbench.embed import Projection, project_snapshots, read_embeddings
from sslbench.palette import LINES
from sslbench.tables import paper
from sslbench.tables.contents import Figure, Report
from sslbench.tables.groups import Entry, Group, find_groups, is_ablation, row_order, slug
from sslbench.tables.look import (
    NUMBERED_FROM,
    STYLE,
    WIDTH,
    add_class_legend,
    blank,
    number_cells,
    scatter,
    share_limits,
    write_png,
)
from sslbench.tables.paper import (
    BARLOW,
    FULL_RATIO,
    METHOD_TITLES,
    METHODS,
    METRIC_TITLES,
    MODEL_TITLES,
    MODELS,
    SEMI,
    TEST,
    TRAIN,
    VAL,
    Row,
)

MAX_SNAPSHOTS = 5
DIAGNOSTICS = (
    ("train", "confidence", "mean confidence (%)"),
    ("train", "kept_at_0.95", "confidence ≥ 0.95 (% of images)"),
    ("val", "pseudo_label_accuracy", "pseudo-labels right (%)"),
    ("train", "pseudo_label_max_share", "most frequent pseudo-label (%)"),
)

TSNE_NOTE = "Distances between clusters and their sizes mean nothing. "
NUMBERS_NOTE = (
    "k-NN: points whose ten nearest others vote for their class. Silh.: silhouette, how far "
    "classes part (-1 to 1). Both in the embedding's space, in brackets in the plane. Trust: "
    "trustworthiness, how far neighbours in the plane are neighbours in the embedding (1: all)."
)

Way = tuple[str, str | None]
"""How a row was trained: its method, and whose weights it started from."""
Grid = dict[Way, dict[str, Row]]
"""Rows by way and model."""


def draw_figures(report: Report) -> list[Figure]:
    """Draw what a report's cells have data for; what cannot be read is added to its problems.

    Each picture is `figures/<name>.png` below the report's folder, its data the `.csv` beside it;
    coordinates of embeddings are in `embeddings/<cell>-<what>.npz`.
    """
    groups, _ = find_groups(report.gathered.cells)
    figures = []
    with matplotlib.rc_context(STYLE):
        for group in groups:
            if not is_ablation(group, groups):
                figures += _Album(group, report).draw()
    return figures


class _Album:
    """The pictures of one group."""

    def __init__(self, group: Group, report: Report) -> None:
        self.group = group
        self.report = report
        self.grid = _grid(group)
        self.models = sorted({model for row in self.grid.values() for model in row}, key=_place)
        others = [model for model in self.models if model not in MODELS]
        self.lines = dict(zip([*MODELS, *others], cycle(LINES), strict=False))
        self.curves = {row: self._read_curves(row) for row in self._rows()}

    def draw(self) -> list[Figure]:
        drawn = [
            self.learning_curves(),
            self.ratios(),
            self.pseudo_labels(),
            self.confusions(),
            *self.embeddings(),
            self.snapshots(),
        ]
        return [figure for figure in drawn if figure is not None]

    def learning_curves(self) -> Figure | None:
        """Draw training loss and validation accuracy, a column per way of training."""
        panels = [("train", "loss", "train loss", 1), ("val", "accuracy", "val accuracy (%)", 100)]
        bands = {
            (way, split): {
                model: band * [1, scale, scale, 1]
                for model, row in rows.items()
                if len(band := _band(self.curves[row], split, metric))
            }
            for way, rows in self.grid.items()
            for split, metric, _, scale in panels
        }
        ways = [way for way in self.grid if any(bands[way, split] for split, *_ in panels)]
        if not ways:
            return None
        canvas = Canvas((max(WIDTH, 1.8 * len(ways)), 4.2), layout="constrained")
        axes = canvas.subplots(2, len(ways), squeeze=False, sharex="col", sharey=False)
        for column, way in enumerate(ways):
            for ax, (split, _, label, _) in zip(axes[:, column], panels, strict=True):
                self._draw_bands(ax, bands[way, split])
                if column == 0:
                    ax.set_ylabel(label)
            axes[0, column].set_title(self._way_title(way))
            axes[1, column].set_xlabel(_epoch_label(way))
        share_limits(axes[1])
        self._legend(canvas, self.models)
        frame = pd.concat(
            {
                (*_words(way), split, model): band
                for (way, split), found in bands.items()
                for model, band in found.items()
            },
            names=["method", "from", "split", "model", "step"],
        )
        return self._save(
            canvas,
            "curves",
            "Learning curves",
            "Lines: means over seeds; bands: one standard deviation. Training loss is of augmented "
            "images and has another meaning for each method. Epochs are passes over the labelled "
            "images, for the self-supervised method over the unlabelled ones. Where no seed of a "
            "row has finished, the curve ends where training is.",
            frame,
        )

    def pseudo_labels(self) -> Figure | None:
        """Draw what the semi-supervised method says of its pseudo-labels."""
        rows = self.grid.get((SEMI, None), {})
        bands = {
            (split, metric): {
                model: band * [1, 100, 100, 1]
                for model, row in rows.items()
                if len(band := _band(self.curves[row], split, metric))
            }
            for split, metric, _ in DIAGNOSTICS
        }
        if not any(bands.values()):
            return None
        canvas = Canvas((WIDTH, 4.4), layout="constrained")
        axes = canvas.subplots(2, 2, sharex=True, sharey=True)
        for ax, (split, metric, title) in zip(axes.flat, DIAGNOSTICS, strict=True):
            self._draw_bands(ax, bands[split, metric])
            ax.set_title(title)
            ax.set_ylim(0, 102)
        for ax in axes[1]:
            ax.set_xlabel(_epoch_label((SEMI, None)))
        for ax in axes[:, 0]:
            ax.set_ylabel("share (%)")
        self._legend(canvas, [model for model in self.models if model in rows])
        frame = pd.concat(
            {
                (metric, model): band
                for (_, metric), found in bands.items()
                for model, band in found.items()
            },
            names=["figure", "model", "step"],
        )
        return self._save(
            canvas,
            "pseudo-labels",
            f"Pseudo-labels over time, {self._way_title((SEMI, None), ' ')}",
            "Lines: means over seeds; bands: one standard deviation. Right: of labels that weak "
            "views of validation images would get. Most frequent: the share of the class that gets "
            "most labels, 10 % where ten classes get as many; 100 % is collapse.",
            frame,
        )

    def ratios(self) -> Figure | None:
        """Draw accuracy against the number of unlabelled images, beside the paper's."""
        group = self.group
        rows = [row for row in group.rows if row.method == SEMI and row.init is None]
        rows = sorted((row for row in rows if np.isfinite(_unlabeled(row))), key=_unlabeled)
        found = [
            {"model": row.model, "ratio": row.ratio, "x": _unlabeled(row)}
            | {"figure": METRIC_TITLES[metric], "n": len(values), "mean": 100 * np.mean(values)}
            | {"deviation": 100 * np.std(values, ddof=1) if len(values) > 1 else np.nan}
            for row in rows
            for metric in (TRAIN, VAL, TEST)
            if (values := [entry.value(metric) for entry in group.done(row).values()])
        ]
        if len({each["ratio"] for each in found}) < 2:
            return None
        frame = pd.DataFrame(found)
        canvas = Canvas((WIDTH, 2.9), layout="constrained")
        axes = canvas.subplots(1, 3, sharey=True, sharex=True)
        for ax, metric in zip(axes, (TRAIN, VAL, TEST), strict=True):
            of_metric = frame[frame["figure"] == METRIC_TITLES[metric]]
            for shift, (model, line) in enumerate(of_metric.groupby("model")):
                color, marker = self.lines[model]
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
            ax.set(xscale="log", title=METRIC_TITLES[metric].replace("acc", "accuracy"))
            places = frame.drop_duplicates("ratio")
            ax.set_xticks(places["x"], places["ratio"])
            ax.minorticks_off()
            ax.set_xlabel("labelled : unlabelled")
            ax.grid(axis="y")
        axes[0].set_ylabel("accuracy (%)")
        self._legend(canvas, sorted(frame["model"].unique(), key=_place))
        beside = " Dotted, hollow: the paper's table 4." if group.is_paper else ""
        return self._save(
            canvas,
            "ratios",
            "Semi-supervised accuracy against the ratio",
            f"Means over seeds; bars: one standard deviation.{beside}",
            frame.drop(columns="x").set_index(["figure", "model", "ratio"]),
        )

    def confusions(self) -> Figure | None:
        """Draw the test images' classes against those they were taken for."""
        shares, names = {}, []
        for row in self._rows():
            entries = list(self.group.done(row).values())
            if entries and "confusion" in entries[0].cell.record.results["test"]:
                counts = sum(np.array(_results(entry)["confusion"]) for entry in entries)
                shares[row] = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
                names = _class_names(entries[0])
        if not shares:
            return None
        ways, models = self._with_data(shares)
        canvas = Canvas((1.3 + 2.05 * len(models), 0.9 + 2.05 * len(ways)), layout="constrained")
        axes = canvas.subplots(len(ways), len(models), squeeze=False)
        ticks = np.arange(len(names))
        for (ax, row), (i, j) in self._panels(axes, ways, models, shares):
            image = ax.imshow(shares[row], cmap="Blues", vmin=0, vmax=100)
            number_cells(ax, shares[row])
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0, pad=1)
            leftmost = all(self.grid[ways[i]].get(model) not in shares for model in models[:j])
            lowest = all(self.grid[way].get(models[j]) not in shares for way in ways[i + 1 :])
            ax.set_yticks(ticks, names if leftmost else [])
            ax.set_xticks(ticks, names if lowest else [], rotation=90)
        canvas.supxlabel("taken for")
        bar = canvas.colorbar(image, ax=axes, location="right", aspect=40, shrink=0.6)
        bar.set_label("share of the class's test images (%)")
        bar.outline.set_visible(False)
        frame = pd.concat(
            {
                (*_words((row.method, row.init)), row.model): pd.DataFrame(share, names, names)
                for row, share in shares.items()
            },
            names=["method", "from", "model", "class"],
        )
        return self._save(
            canvas,
            "confusion",
            "Confusion of the test images' classes",
            "Rows: the class an image is of; each sums to 100 %, over all seeds. Numbers stand "
            f"where a share is {NUMBERED_FROM} % or more.",
            frame,
        )

    def embeddings(self) -> list[Figure | None]:
        """Draw test images' embeddings by t-SNE and by PCA."""
        entries = {
            row: entry for row in self._rows() for entry in list(self.group.done(row).values())[:1]
        }

        def project(entry: Entry) -> dict[str, list[Projection]] | None:
            return self._project(entry, "test", [entry.cell.folder / "embeddings-test.npz"])

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # t-SNE computes without Python's lock
            projected = dict(zip(entries, pool.map(project, entries.values()), strict=True))
        found = {row: projections for row, projections in projected.items() if projections}
        if not found:
            return [None, None]
        names = _class_names(entries[next(iter(found))])
        ways, models = self._with_data(found)
        seeds = {row: next(iter(self.group.done(row))) for row in found}
        frame = pd.DataFrame(
            {"method": row.method, "from": row.init, "model": row.model, "seed": seeds[row]}
            | {"projection": kind}
            | vars(projections[0].numbers)
            for row, by_kind in found.items()
            for kind, projections in by_kind.items()
        ).set_index(["projection", "method", "from", "model"])
        figures = []
        for kind, title, note in (
            ("tsne", "t-SNE", TSNE_NOTE),
            ("pca", "PCA", "The two directions of most variance, for a quick look. "),
        ):
            canvas = Canvas((0.6 + 2.2 * len(models), 0.6 + 2.5 * len(ways)), layout="constrained")
            axes = canvas.subplots(len(ways), len(models), squeeze=False)
            for (ax, row), _ in self._panels(axes, ways, models, found):
                scatter(ax, found[row][kind][0], size=7)
            add_class_legend(canvas, names)
            figures.append(
                self._save(
                    canvas,
                    kind,
                    f"Embeddings of test images by {title}",
                    f"{_points_note(next(iter(found.values()))[kind][0])} {note}{NUMBERS_NOTE}"
                    f" Seed {_and(sorted(set(seeds.values())))}.",
                    frame.loc[kind],
                )
            )
        return figures

    def snapshots(self) -> Figure | None:
        """Draw how the self-supervised encoder's embeddings part during training (figure 5)."""
        found, steps, names = {}, {}, []
        for row in self._rows():
            entries = list(self.group.done(row).values())[:1] if row.method == BARLOW else []
            for entry in entries:
                paths = sorted(entry.cell.folder.glob("snapshot-*.npz"))
                if len(paths) > MAX_SNAPSHOTS:
                    places = np.linspace(0, len(paths) - 1, MAX_SNAPSHOTS).round().astype(int)
                    paths = [paths[place] for place in places]
                projections = self._project(entry, "snapshots", paths) if len(paths) > 1 else None
                if projections:
                    found[row] = projections["tsne"]
                    steps[row] = [int(path.stem.rpartition("-")[2]) for path in paths]
                    names = _class_names(entry)
        if not found:
            return None
        columns = max(len(each) for each in found.values())
        width = 0.4 + min(2.2, (WIDTH - 0.4) / columns) * columns
        canvas = Canvas((width, 0.6 + 1.9 * len(found)), layout="constrained")
        axes = canvas.subplots(len(found), columns, squeeze=False)
        for line, (row, projections) in zip(axes, found.items(), strict=True):
            for ax in line:
                blank(ax)
            for ax, step, projection in zip(line, steps[row], projections, strict=False):
                scatter(ax, projection, size=3)
                ax.set_title(f"step {step:,}")
            line[0].set_ylabel(_model_title(row.model))
        add_class_legend(canvas, names)
        frame = pd.DataFrame(
            {"model": row.model, "step": step} | vars(projection.numbers)
            for row, projections in found.items()
            for step, projection in zip(steps[row], projections, strict=True)
        ).set_index(["model", "step"])
        first = next(iter(found.values()))[0]
        return self._save(
            canvas,
            "snapshots",
            "Self-supervised embeddings during training (the paper's figure 5)",
            f"{_points_note(first, 'validation')} t-SNE, each snapshot starting from where the "
            "last ended, so that a point stays near its place unless its neighbours change. "
            f"{NUMBERS_NOTE}",
            frame,
        )

    def _rows(self) -> list[Row]:
        return [row for rows in self.grid.values() for row in rows.values()]

    def _way_title(self, way: Way, separator: str = "\n") -> str:
        ratios = {row.ratio for row in self.grid[way].values()} - {None}
        title = _title(way, separator)
        return title + (f"{separator}{_and(sorted(ratios))}" if way[0] == SEMI else "")

    def _with_data(self, found: Iterable[Row]) -> tuple[list[Way], list[str]]:
        """Return the ways and models that any of the rows has."""
        ways = [way for way in self.grid if any((row.method, row.init) == way for row in found)]
        return ways, [model for model in self.models if any(row.model == model for row in found)]

    def _panels(
        self, axes: np.ndarray, ways: list[Way], models: list[str], found: Iterable[Row]
    ) -> Iterable[tuple[tuple[Axes, Row], tuple[int, int]]]:
        """Title a grid of panels, and yield those that have data."""
        for i, way in enumerate(ways):
            for j, model in enumerate(models):
                ax, row = axes[i, j], self.grid[way].get(model)
                if j == 0:
                    ax.set_ylabel(self._way_title(way), fontsize=STYLE["axes.titlesize"])
                if i == 0:
                    ax.set_title(_model_title(model))
                if row in found:
                    yield (ax, row), (i, j)
                else:
                    blank(ax)
                    ax.text(0.5, 0.5, "no data", ha="center", transform=ax.transAxes, color="gray")

    def _draw_bands(self, ax: Axes, bands: dict[str, pd.DataFrame]) -> None:
        for model, band in bands.items():
            color, marker = self.lines[model]
            every = max(1, len(band) // 6)
            style = {"color": color, "marker": marker}
            ax.plot(
                band["epoch"], band["mean"], markevery=(_place(model)[0] % every, every), **style
            )
            low, high = band["mean"] - band["deviation"], band["mean"] + band["deviation"]
            ax.fill_between(band["epoch"], low, high, color=color, alpha=0.2, linewidth=0)
        ax.grid()

    def _legend(self, canvas: Canvas, models: list[str]) -> None:
        handles = [
            Line2D([], [], color=color, marker=marker, label=_model_title(model))
            for model in models
            for color, marker in [self.lines[model]]
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))

    def _read_curves(self, row: Row) -> pd.DataFrame:
        frames = [pd.DataFrame(columns=["step", "epoch", "split"])]
        for seed, entry in (self.group.done(row) or self.group.rows[row]).items():
            path = entry.cell.folder / "metrics.jsonl"
            try:
                curves = entry.cell.curves()
            except (ValueError, TypeError, AttributeError) as error:
                self.report.problems.append(f"{path}: not curves ({error}); they are left out")
                continue
            if {"step", "epoch", "split"} <= set(curves.columns):
                frames.append(curves.assign(seed=seed))
            elif len(curves):
                self.report.problems.append(f"{path}: not curves; they are left out")
        return pd.concat(frames[1:] or frames)

    def _project(
        self, entry: Entry, what: str, paths: list[Path]
    ) -> dict[str, list[Projection]] | None:
        if not all(path.exists() for path in paths):
            return None
        kept = self.report.folder / "embeddings" / f"{entry.cell.cell_id}-{what}.npz"
        try:
            return project_snapshots(kept, [read_embeddings(path) for path in paths])
        except ValueError as error:
            self.report.problems.append(f"{error}; its picture is left out")
            return None

    def _save(
        self, canvas: Canvas, name: str, title: str, caption: str, frame: pd.DataFrame
    ) -> Figure:
        group = self.group
        stem = name if group.is_paper else f"{name}-{slug(group.title)}"
        folder = self.report.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / f"{stem}.csv")
        path = folder / f"{stem}.png"
        write_png(canvas, path)
        return Figure(stem, f"{title} ({group.title})", caption, path)


def _grid(group: Group) -> Grid:
    """Choose a row per way and model: finished ones first, then those of the paper's main ratio."""
    grid: Grid = {}

    def preference(row: Row) -> tuple[bool, bool, float]:
        return bool(group.done(row)), row.ratio == FULL_RATIO, row_order(row)[1]

    for row in sorted(group.rows, key=preference):
        grid.setdefault((row.method, row.init), {})[row.model] = row
    ways = sorted(grid, key=lambda way: (_index(METHODS, way[0]), way[0], way[1] or ""))
    return {way: dict(sorted(grid[way].items(), key=lambda each: _place(each[0]))) for way in ways}


def _index(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else len(known)


def _place(model: str) -> tuple[int, str]:
    return _index(MODELS, model), model


def _title(way: Way, separator: str) -> str:
    method, init = _words(way)
    return method + (f"{separator}from {init}" if init else "")


def _words(way: Way) -> tuple[str, str]:
    return METHOD_TITLES.get(way[0], way[0]), METHOD_TITLES.get(way[1], way[1]) if way[1] else ""


def _model_title(model: str) -> str:
    return MODEL_TITLES.get(model, model)


def _epoch_label(way: Way) -> str:
    return "epoch (unlabelled)" if way[0] == BARLOW else "epoch (labelled)"


def _unlabeled(row: Row) -> float:
    return row_order(row)[1]


def _reported(model: str, metric: paper.Metric) -> tuple[list[float], list[float]]:
    """Return table 4's unlabelled images per labelled one, and accuracies in percent."""
    rows = [row for row in paper.TABLE_4 if row.model == model and metric in paper.TABLE_4[row]]
    return [_unlabeled(row) for row in rows], [100 * paper.TABLE_4[row][metric] for row in rows]


def _results(entry: Entry) -> dict:
    assert entry.cell.record is not None
    return entry.cell.record.results["test"]


def _class_names(entry: Entry) -> list[str]:
    assert entry.cell.record is not None
    return [str(name) for name in entry.cell.record.data["class_names"]]


def _and(words: Iterable[object]) -> str:
    return ", ".join(str(word) for word in words)


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


def _points_note(projection: Projection, split: str = "test") -> str:
    return f"The same {len(projection.labels):,} {split} images in each panel, chosen once."
