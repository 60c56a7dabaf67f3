"""Embeddings of test images in the plane, and how they part during training (figure 5)."""

import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from matplotlib.figure import Figure as Canvas

from sslbench.evaluate.projection import (
    Embeddings,
    Projection,
    Projections,
    choose_same,
    kept_projections,
    project_snapshots,
    read_embeddings,
)
from sslbench.processes import available_cores, call_with_parent
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


@dataclass
class Projected:
    """A finished cell's embeddings, and their projections once they are made."""

    entry: Entry
    kept: Path
    paths: list[Path]
    snapshots: list[Embeddings]
    projections: Projections | None

    @property
    def steps(self) -> list[int]:
        return [int(path.stem.rpartition("-")[2]) for path in self.paths]

    def of(self, kind: str) -> list[Projection]:
        assert self.projections is not None
        return self.projections[kind]


class Projecting:
    """What an album's first finished cells have of embeddings.

    `tests` are of each row's test images; `snapshots` of the self-supervised cells' validation
    images. Files that cannot be read are added to the report's problems.
    """

    def __init__(self, album: Album) -> None:
        self.tests: dict[Row, Projected] = {}
        self.snapshots: dict[Row, Projected] = {}
        for row in album.rows():
            entry = album.first_done(row)
            if entry is None:
                continue
            path = entry.cell.folder / "embeddings-test.npz"
            if path.exists() and (found := _read(album, entry, "test", [path])):
                self.tests[row] = found
            paths = _choose_snapshots(entry) if row.method == BARLOW else []
            if len(paths) > 1 and (found := _read(album, entry, "snapshots", paths)):
                self.snapshots[row] = found

    def missing(self) -> list[Projected]:
        """Return those without projections."""
        found = [*self.tests.values(), *self.snapshots.values()]
        return [each for each in found if each.projections is None]

    def finish(self, made: Iterator[Projections]) -> None:
        """Take the projections of those that are missing, in their order."""
        for each in self.missing():
            try:
                each.projections = next(made, None)
            except BrokenProcessPool:  # out of memory, perhaps: one at a time needs less
                each.projections = None
            each.projections = each.projections or project_snapshots(each.kept, each.snapshots)


@contextmanager
def projecting_beside(missing: list[Projected]) -> Iterator[Iterator[Projections]]:
    """Project while the caller draws; yields the projections in order, as they come.

    In processes of their own, where there are cores for them: a thread's t-SNE would wait for
    Python's lock most of the time.
    """
    workers = Parallel(
        min(available_cores(), max(2, len(missing))),
        return_as="generator",
        max_nbytes=None,  # no arrays in shared memory, which a kill would leave there
    )
    # What is called there lies where importing it does not bring pandas and matplotlib along.
    made = workers(
        delayed(call_with_parent)(project_snapshots, each.kept, each.snapshots) for each in missing
    )
    try:
        yield made
        for _ in made:  # all are taken; only now is it at its end
            pass
    finally:
        with warnings.catch_warnings():
            # Where drawing failed, joblib says of what it had made that nobody took it.
            warnings.simplefilter("ignore", UserWarning)
            made.close()


def _choose_snapshots(entry: Entry) -> list[Path]:
    """Return the files of at most `MAX_SNAPSHOTS` snapshots, the first and the last among them."""
    paths = sorted(entry.cell.folder.glob("snapshot-*.npz"))
    if len(paths) <= MAX_SNAPSHOTS:
        return paths
    places = np.linspace(0, len(paths) - 1, MAX_SNAPSHOTS).round().astype(int)
    return [paths[place] for place in places]


def draw_embeddings(album: Album, projecting: Projecting) -> list[Figure | None]:
    """Draw test images' embeddings by t-SNE and by PCA."""
    found = projecting.tests
    if not found:
        return [None, None]
    first = next(iter(found.values()))
    names = class_names(first.entry)
    ways, models = album.with_data(found)
    width = 0.6 + 2.2 * len(models) + album.title_inches(ways)
    seeds = {each.entry.seed for each in found.values()}
    frame = pd.DataFrame(
        {"method": row.method, "from": row.init, "model": row.model, "seed": each.entry.seed}
        | {"projection": kind}
        | vars(each.of(kind)[0].numbers)
        for row, each in found.items()
        for kind in ("pca", "tsne")
    ).set_index(["projection", "method", "from", "model"])
    figures = []
    for kind, title, note in (
        ("tsne", "t-SNE", TSNE_NOTE),
        ("pca", "PCA", "The two directions of most variance, for a quick look. "),
    ):
        canvas = Canvas((width, 0.6 + 2.5 * len(ways)), layout="constrained")
        axes = canvas.subplots(len(ways), len(models), squeeze=False)
        for (ax, row), _ in album.panels(axes, ways, models, found):
            scatter(ax, found[row].of(kind)[0], size=7)
        add_class_legend(canvas, names)
        figures.append(
            album.save(
                canvas,
                kind,
                f"Embeddings of test images by {title}",
                f"{_points_note(first.of(kind)[0])} {note}{NUMBERS_NOTE}"
                f" Seed {', '.join(str(seed) for seed in sorted(seeds))}.",
                frame.loc[kind],
            )
        )
    return figures


def draw_snapshots(album: Album, projecting: Projecting) -> Figure | None:
    """Draw how the self-supervised encoder's embeddings part during training (figure 5)."""
    found = projecting.snapshots
    if not found:
        return None
    columns = max(len(each.snapshots) for each in found.values())
    width = 0.4 + min(2.2, (WIDTH - 0.4) / columns) * columns
    canvas = Canvas((width, 0.6 + 1.9 * len(found)), layout="constrained")
    axes = canvas.subplots(len(found), columns, squeeze=False)
    for line, (row, each) in zip(axes, found.items(), strict=True):
        for ax in line:
            blank(ax)
        for ax, step, projection in zip(line, each.steps, each.of("tsne"), strict=False):
            scatter(ax, projection, size=3)
            ax.set_title(f"step {step:,}")
        line[0].set_ylabel(model_title(row.model))
    last = list(found.values())[-1]
    add_class_legend(canvas, class_names(last.entry))
    frame = pd.DataFrame(
        {"model": row.model, "step": step} | vars(projection.numbers)
        for row, each in found.items()
        for step, projection in zip(each.steps, each.of("tsne"), strict=True)
    ).set_index(["model", "step"])
    return album.save(
        canvas,
        "snapshots",
        "Self-supervised embeddings during training (the paper's figure 5)",
        f"{_points_note(last.of('tsne')[-1], 'validation')} t-SNE, each snapshot starting "
        "from where the last ended, so that a point stays near its place unless its neighbours "
        "change. "
        f"{NUMBERS_NOTE}",
        frame,
    )


def _read(album: Album, entry: Entry, what: str, paths: list[Path]) -> Projected | None:
    kept = album.report.folder / "embeddings" / f"{entry.cell.cell_id}-{what}.npz"
    try:
        snapshots = choose_same([read_embeddings(path) for path in paths])
    except ValueError as error:
        album.report.problems.append(f"{kept.stem}: {error}; its picture is left out")
        return None
    return Projected(entry, kept, paths, snapshots, kept_projections(kept, snapshots))


def _points_note(projection: Projection, split: str = "test") -> str:
    return f"The same {len(projection.labels):,} {split} images in each panel, chosen once."
