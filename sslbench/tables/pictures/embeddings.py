"""Embeddings in the plane, by class: of test images, and of validation images while training."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.cell.embeddings import EMBEDDINGS, read_embeddings
from sslbench.evaluate.projection import Projection, choose_points, project_once
from sslbench.machine.calls import Call, help_with
from sslbench.palette import ALARM, BACK, class_style
from sslbench.paper import Row
from sslbench.scatter import LETTER_INCHES, NO_TICKS, name_classes, scatter, short
from sslbench.tables.contents import Picture
from sslbench.tables.gather import Cell
from sslbench.tables.pictures.album import (
    LINE_INCHES,
    WIDTH,
    Album,
    listed,
    part,
    way_of,
    way_words,
    wrapped,
)

FEW_POINTS, MANY_POINTS = 200, 300
"""Images in one of many panels, and in one of two: t-SNE takes a millisecond or more for each."""
PANEL = np.array([3.3, 2.6])
"""Inches of one of two panels."""
NOTE = (
    "The same few images in each panel. Distances of clusters mean nothing. "
    "Trust: how far neighbours in the plane are neighbours in the embedding (trustworthiness, at "
    "most 1). "
)
Found = dict[Row, tuple[Cell, list[Path], list[Projection]]]
"""Cells by row, with files of embeddings and their projections."""
Begun = dict[Row, tuple[Cell, list[Path], Call[list[Projection]]]]


def draw_embeddings(album: Album) -> Iterator[Picture]:
    """Draw embeddings by t-SNE: of test images, and of validation images during training.

    The projections begin with the call, and are waited for when the first picture is.
    """
    tests = _begin(album, EMBEDDINGS.format("test"), least=1, num_points=FEW_POINTS)
    snapshots = _begin(album, "snapshot-*.npz", least=2, num_points=MANY_POINTS)
    return _draw_all(album, tests, snapshots)


def _draw_all(album: Album, test_calls: Begun, snapshot_calls: Begun) -> Iterator[Picture]:
    tests = _finish(album, test_calls)
    for end, rows in album.pages(tests):
        yield _draw_tests(album, f"tsne{end}", {row: tests[row] for row in rows})
    snapshots = _finish(album, snapshot_calls)
    for number, way in enumerate(dict.fromkeys(map(way_of, snapshots)), start=1):
        of_way = {row: found for row, found in snapshots.items() if way_of(row) == way}
        yield _draw_ends(album, f"snapshots-{number}" if number > 1 else "snapshots", of_way)


def _begin(album: Album, pattern: str, least: int, num_points: int) -> Begun:
    """Begin to project the first and the last that rows' first finished cells keep."""
    store, begun = album.folder / "embeddings", {}
    for row in album.rows:
        for cell in list(album.group.done(row).values())[:1]:
            paths = sorted(cell.folder.glob(pattern))
            paths = list(dict.fromkeys([*paths[:1], *paths[-1:]]))
            if len(paths) >= least:
                begun[row] = cell, paths, Call(_project_files, store, paths, num_points)
    return begun


def _finish(album: Album, begun: Begun) -> Found:
    """Wait for projections; what cannot be read becomes a problem."""
    help_with([call for *_, call in begun.values()])
    found = {}
    for row, (cell, paths, call) in begun.items():
        try:
            found[row] = cell, paths, call.result()
        except ValueError as error:
            album.problems.append(f"{cell.cell_id}: {error}; its picture is left out")
    return found


def _project_files(store: Path, paths: list[Path], num_points: int) -> list[Projection]:
    """Read snapshots of the same images, and project the same few points of each."""
    snapshots = [read_embeddings(path) for path in paths]
    first = snapshots[0]
    if any(not np.array_equal(each.indices, first.indices) for each in snapshots):
        raise ValueError("the snapshots are not of the same images")
    chosen = choose_points(first.labels, num_points)
    return project_once(store, [each.values[chosen] for each in snapshots], first.labels[chosen])


def _draw_tests(album: Album, name: str, found: Found) -> Picture:
    """Draw test images, a panel a row, with its test accuracy."""
    canvas, panels = album.panels(found, np.array([2.1, 2.3]), margin=0.7, subplot_kw=NO_TICKS)
    accuracies = {}
    for row, ax in panels.items():
        cell, _, (projection,) = found[row]
        scatter(ax, projection.coordinates, projection.labels, size=7)
        accuracies[row] = 100 * cell.value(paper.TEST)
        ax.set_xlabel(f"test {accuracies[row]:.1f} %, trust {projection.trust:.2f}")
        if cell.collapse:
            ax.set_title("collapsed", loc="right", color=ALARM)
    name_classes(canvas, next(iter(found.values()))[0].class_names)
    told = {
        f"{paper.title(row.model)} {album.way_name(way_of(row))}": value
        for row, value in accuracies.items()
    }
    alt = f"Test images as points coloured by class, a panel each, test accuracy: {listed(told)}."
    title = f"Embeddings of test images by t-SNE{part(name)}"
    return album.save(canvas, name, title, NOTE + _seeds(found), _frame(found), alt)


def _draw_ends(album: Album, name: str, found: Found) -> Picture:
    """Draw the first and the last snapshot of each model, the classes named where they are."""
    canvas = Canvas((WIDTH, 0.4 + 3.1 * len(found)))
    axes = canvas.subplots(len(found), 2, squeeze=False, subplot_kw=NO_TICKS)
    for line, (row, (cell, paths, projections)) in zip(axes, found.items(), strict=True):
        for ax, end in zip(line, (0, -1), strict=True):
            scatter(ax, projections[end].coordinates, projections[end].labels, size=9)
            _name_in_place(ax, projections[end], cell.class_names)
            ax.set_title(f"step {int(paths[end].stem.rpartition('-')[2]):,}")
            ax.set_xlabel(f"trust {projections[end].trust:.2f}")
        line[0].set_ylabel(wrapped(paper.title(row.model)))
    row, (cell, paths, _) = next(iter(found.items()))
    name_classes(canvas, cell.class_names)
    way = album.way_name(way_of(row))
    figure = " (the paper's figure 5)" * album.group.beside_paper
    title = f"Embeddings of validation images, first and last, {way}{figure}"
    note = f"t-SNE, the last starting from where the first ended. {NOTE}"
    models = ", ".join(paper.title(each.model) for each in found)
    alt = (
        f"Two panels a model ({models}): validation images as points coloured by class, after the "
        "first steps and after the last, the classes named at their centres."
    )
    return album.save(canvas, name, title, note + _seeds(found), _frame(found), alt)


def _seeds(found: Found) -> str:
    seeds = sorted({cell.seed for cell, *_ in found.values()})
    return f"Seed {', '.join(map(str, seeds))}."


def _frame(found: Found) -> pd.DataFrame:
    """Return what each panel is of, and how far to trust it."""
    return pd.DataFrame(
        dict(zip(("method", "from"), way_words(way_of(row)), strict=True))
        | {"ratio": row.ratio, "model": row.model, "seed": cell.seed, "file": path.name}
        | {"trustworthiness": projection.trust}
        for row, (cell, paths, projections) in found.items()
        for path, projection in zip(paths, projections, strict=True)
    ).set_index(["method", "from", "ratio", "model"])


def _name_in_place(ax: Axes, projection: Projection, names: list[str]) -> None:
    """Write the classes' names at their points' medians, no name over another."""
    points, labels = projection.coordinates, projection.labels
    classes = np.unique(labels)
    centres = np.array([np.median(points[labels == each], 0) for each in classes])
    unit = max(float(np.max(np.ptp(points, 0) / PANEL)), 1e-9)  # of the points, in an inch
    titles = [short(names[label]) for label in classes]
    places = unit * apart(centres / unit, np.array([LETTER_INCHES * len(it) for it in titles]))
    for label, title, place in zip(classes, titles, places, strict=True):
        color, _ = class_style(int(label))
        box = {"facecolor": BACK, "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
        text = ax.text(*place, title, c=color, ha="center", va="center", bbox=box)
        text.set_in_layout(False)


def apart(places: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Move names at `(n, 2)` places up and down until none lies over another; sizes in inches."""
    found = places.astype(float)
    for _ in range(200):
        moved = False
        order = np.argsort(found[:, 1], kind="stable")
        for i, lower in enumerate(order):
            for upper in order[i + 1 :]:
                gap = LINE_INCHES - (found[upper, 1] - found[lower, 1])
                near = abs(found[upper, 0] - found[lower, 0]) < (widths[upper] + widths[lower]) / 2
                if gap > 1e-3 and near:
                    found[lower, 1] -= gap / 2
                    found[upper, 1] += gap / 2
                    moved = True
        if not moved:
            break
    return found
