"""Embeddings of test images in the plane, and how they part during training (figure 5)."""

from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.embed import Projection, project_snapshots, read_embeddings
from sslbench.tables.contents import Figure
from sslbench.tables.figures.album import Album, class_names, model_title
from sslbench.tables.figures.look import WIDTH, add_class_legend, blank, scatter
from sslbench.tables.groups import Entry
from sslbench.tables.paper import BARLOW, Row

MAX_SNAPSHOTS = 5
TSNE_NOTE = "Distances between clusters and their sizes mean nothing. "
NUMBERS_NOTE = (
    "k-NN: points whose ten nearest others vote for their class. Silh.: silhouette, how far "
    "classes part (-1 to 1). Both in the embedding's space, in brackets in the plane. Trust: "
    "trustworthiness, how far neighbours in the plane are neighbours in the embedding (1: all)."
)

Made = Future[dict[str, list[Projection]] | None]
"""Projections by `pca` and `tsne`; None where there are no embeddings, or unreadable ones."""


class Projecting:
    """The projections of an album's first finished cells, computed while other pictures are drawn.

    `tests` has each row's cell and its test images; `snapshots` the self-supervised cells, the
    steps at which they were taken, and the projections of all of them.
    """

    def __init__(self, album: Album, pool: Executor) -> None:
        self.tests: dict[Row, tuple[Entry, Made]] = {}
        self.snapshots: dict[Row, tuple[Entry, list[int], Made]] = {}
        for row in album.rows():
            entry = album.first_done(row)
            if entry is None:
                continue
            path = entry.cell.folder / "embeddings-test.npz"
            self.tests[row] = entry, pool.submit(_project, album, entry, "test", [path])
            paths = _choose_snapshots(entry) if row.method == BARLOW else []
            if len(paths) > 1:
                steps = [int(path.stem.rpartition("-")[2]) for path in paths]
                made = pool.submit(_project, album, entry, "snapshots", paths)
                self.snapshots[row] = entry, steps, made


def _choose_snapshots(entry: Entry) -> list[Path]:
    """Return the files of at most `MAX_SNAPSHOTS` snapshots, the first and the last among them."""
    paths = sorted(entry.cell.folder.glob("snapshot-*.npz"))
    if len(paths) <= MAX_SNAPSHOTS:
        return paths
    places = np.linspace(0, len(paths) - 1, MAX_SNAPSHOTS).round().astype(int)
    return [paths[place] for place in places]


def draw_embeddings(album: Album, projecting: Projecting) -> list[Figure | None]:
    """Draw test images' embeddings by t-SNE and by PCA."""
    entries = {row: entry for row, (entry, _) in projecting.tests.items()}
    found = {
        row: made for row, (_, future) in projecting.tests.items() if (made := future.result())
    }
    if not found:
        return [None, None]
    names = class_names(entries[next(iter(found))])
    ways, models = album.with_data(found)
    seeds = {row: entries[row].seed for row in found}
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
        for (ax, row), _ in album.panels(axes, ways, models, found):
            scatter(ax, found[row][kind][0], size=7)
        add_class_legend(canvas, names)
        figures.append(
            album.save(
                canvas,
                kind,
                f"Embeddings of test images by {title}",
                f"{_points_note(next(iter(found.values()))[kind][0])} {note}{NUMBERS_NOTE}"
                f" Seed {', '.join(str(seed) for seed in sorted(set(seeds.values())))}.",
                frame.loc[kind],
            )
        )
    return figures


def draw_snapshots(album: Album, projecting: Projecting) -> Figure | None:
    """Draw how the self-supervised encoder's embeddings part during training (figure 5)."""
    found, steps, names = {}, {}, []
    for row, (entry, made, future) in projecting.snapshots.items():
        if projections := future.result():
            found[row] = projections["tsne"]
            steps[row] = made
            names = class_names(entry)
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
        line[0].set_ylabel(model_title(row.model))
    add_class_legend(canvas, names)
    frame = pd.DataFrame(
        {"model": row.model, "step": step} | vars(projection.numbers)
        for row, projections in found.items()
        for step, projection in zip(steps[row], projections, strict=True)
    ).set_index(["model", "step"])
    first = next(iter(found.values()))[0]
    return album.save(
        canvas,
        "snapshots",
        "Self-supervised embeddings during training (the paper's figure 5)",
        f"{_points_note(first, 'validation')} t-SNE, each snapshot starting from where the "
        "last ended, so that a point stays near its place unless its neighbours change. "
        f"{NUMBERS_NOTE}",
        frame,
    )


def _project(
    album: Album, entry: Entry, what: str, paths: list[Path]
) -> dict[str, list[Projection]] | None:
    if not all(path.exists() for path in paths):
        return None
    kept = album.report.folder / "embeddings" / f"{entry.cell.cell_id}-{what}.npz"
    try:
        return project_snapshots(kept, [read_embeddings(path) for path in paths])
    except ValueError as error:
        album.report.problems.append(f"{error}; its picture is left out")
        return None


def _points_note(projection: Projection, split: str = "test") -> str:
    return f"The same {len(projection.labels):,} {split} images in each panel, chosen once."
