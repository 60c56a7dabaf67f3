"""Embeddings of test images in the plane, and how they part during training (figure 5)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench.cell.embeddings import EMBEDDINGS, Embeddings, read_embeddings
from sslbench.evaluate.projection import MAX_POINTS, Projection, choose_points, project_all
from sslbench.palette import class_style
from sslbench.tables import paper
from sslbench.tables.contents import Picture
from sslbench.tables.gather import Cell
from sslbench.tables.paper import Row
from sslbench.tables.pictures.album import WIDTH, Album, add_legend, wrapped

MAX_SNAPSHOTS = 5
NO_TICKS = {"xticks": [], "yticks": []}
NOTE = (
    f"The same images in each panel, at most {MAX_POINTS}. Distances of clusters mean nothing. "
    "k-NN: points whose ten nearest others vote for their class; silh.: silhouette; both in the "
    "embedding's space, in brackets in the plane. Trust: trustworthiness of neighbours. "
)
Found = dict[Row, tuple[Cell, list[Path], list[Projection]]]
"""Cells by row, with files of embeddings and their projections."""


def draw_embeddings(album: Album) -> Iterator[Picture]:
    """Draw embeddings by t-SNE: of test images, and of validation images during training."""
    tests = _project(album, EMBEDDINGS.format("test"), least=1)
    if tests:
        canvas, panels = album.panels(tests, np.array([2.1, 2.5]), margin=0.7, subplot_kw=NO_TICKS)
        for row, ax in panels.items():
            _, _, (projection,) = tests[row]
            _draw(ax, projection, size=7)
        yield _save(album, canvas, tests, "tsne", "Embeddings of test images by t-SNE", NOTE)
    snapshots = _project(album, "snapshot-*.npz", least=2)
    if snapshots:
        yield _draw_snapshots(album, snapshots)


def _project(album: Album, pattern: str, least: int) -> Found:
    """Project what rows' first finished cells keep; what cannot be read becomes a problem."""
    found = {}
    for row in album.rows:
        for cell in list(album.group.done(row).values())[:1]:
            paths = sorted(cell.folder.glob(pattern))
            # The first and the last are among the few that are taken.
            places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_SNAPSHOTS)).round()
            paths = [paths[int(place)] for place in places]
            try:
                if len(paths) >= least:
                    found[row] = cell, paths, _same_points(paths)
            except ValueError as error:
                album.report.problems.append(f"{cell.cell_id}: {error}; its picture is left out")
    made = project_all([each for *_, each in found.values()], album.report.folder / "embeddings")
    return {row: (*kept[:2], each) for (row, kept), each in zip(found.items(), made, strict=True)}


def _same_points(paths: list[Path]) -> list[Embeddings]:
    """Read snapshots of the same images, and take the same few points from each."""
    snapshots = [read_embeddings(path) for path in paths]
    first = snapshots[0]
    if any(not np.array_equal(each.indices, first.indices) for each in snapshots):
        raise ValueError("the snapshots are not of the same images")
    chosen = choose_points(first.labels)
    return [Embeddings(*(values[chosen] for values in each)) for each in snapshots]


def _draw_snapshots(album: Album, found: Found) -> Picture:
    columns = max(len(paths) for _, paths, _ in found.values())
    canvas = Canvas((min(WIDTH, 0.4 + 2.2 * columns), 0.6 + 1.9 * len(found)))
    axes = canvas.subplots(len(found), columns, squeeze=False, subplot_kw=NO_TICKS)
    for line, (row, (_, paths, projections)) in zip(axes, found.items(), strict=True):
        for ax, path, projection in zip(line, paths, projections, strict=False):
            _draw(ax, projection, size=3)
            ax.set_title(f"step {int(path.stem.rpartition('-')[2]):,}")
        for ax in line[len(paths) :]:
            ax.set_axis_off()
        line[0].set_ylabel(wrapped(f"{paper.title(row.method)} {paper.title(row.model)}"))
    title = "Embeddings of validation images during training (the paper's figure 5)"
    note = f"t-SNE, each snapshot starting from where the last ended. {NOTE}"
    return _save(album, canvas, found, "snapshots", title, note)


def _save(album: Album, canvas: Canvas, found: Found, name: str, title: str, note: str) -> Picture:
    """Name the classes, and save a picture with its panels' numbers."""
    first, *_ = next(iter(found.values()))
    name_classes(canvas, first.class_names)
    frame = pd.DataFrame(
        {"method": row.method, "from": row.init, "model": row.model, "seed": cell.seed}
        | {"file": path.name}
        | projection.numbers
        for row, (cell, paths, projections) in found.items()
        for path, projection in zip(paths, projections, strict=True)
    )
    caption = f"{note}Seed {', '.join(map(str, sorted(set(frame['seed']))))}."
    return album.save(canvas, name, title, caption, frame.set_index(["method", "from", "model"]))


def scatter(ax: Axes, points: np.ndarray, labels: np.ndarray, size: float) -> None:
    """Draw `(n, 2)` points by class."""
    for label in np.unique(labels):
        color, marker = class_style(int(label))
        ax.scatter(*points[labels == label].T, s=size, c=color, marker=marker, alpha=0.8)
    ax.set_facecolor("#f6f6f6")
    ax.spines[:].set_visible(False)
    ax.set_aspect("equal", adjustable="datalim")


def name_classes(canvas: Canvas, names: Iterable[str]) -> None:
    """Name below a picture what the colours and markers of `scatter` stand for."""
    styles = [(name, class_style(label)) for label, name in enumerate(names)]
    add_legend(canvas, styles, linestyle="", markersize=5)


def _draw(ax: Axes, projection: Projection, size: float) -> None:
    """Draw points by class, with the numbers below."""
    scatter(ax, projection.coordinates, projection.labels, size)
    ax.set_xlabel(
        "k-NN {knn:.0%} ({knn_2d:.0%})\nsilh. {silhouette:.2f} ({silhouette_2d:.2f})\n"
        "trust {trustworthiness:.2f}".format(**projection.numbers)
    )
