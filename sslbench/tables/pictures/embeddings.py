"""Embeddings of test images in the plane, and how they part during training (figure 5)."""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench.evaluate.projection import Projection
from sslbench.tables.contents import Picture
from sslbench.tables.paper import BARLOW, Row, method_title, model_title
from sslbench.tables.pictures.album import Album
from sslbench.tables.pictures.look import WIDTH, add_class_legend, blank, scatter
from sslbench.tables.projections import Projected, find_projected

TSNE_NOTE = "Distances between clusters and their sizes mean nothing. "
NUMBERS_NOTE = (
    "k-NN: points whose ten nearest others vote for their class. Silh.: silhouette, how far "
    "classes part (-1 to 1). Both in the embedding's space, in brackets in the plane. Trust: "
    "trustworthiness, how far neighbours in the plane are neighbours in the embedding (1: all)."
)

Found = dict[Row, Projected]


def find_all_projected(album: Album) -> tuple[Found, Found]:
    """Find what an album's first finished cells have of embeddings.

    Returns:
        Those of each row's test images, and of the snapshots that self-supervised cells kept of
        their validation images. Files that cannot be read are added to the report's problems.
    """
    tests: Found = {}
    snapshots: Found = {}
    folder = album.report.folder / "embeddings"
    for row in album.rows():
        cell = album.first_done(row)
        if cell is None:
            continue
        for what, found in (("test", tests), ("snapshots", snapshots)):
            if what == "snapshots" and "labeled" in cell.streams:
                continue
            try:
                projected = find_projected(cell, folder, what)
            except ValueError as error:
                album.report.problems.append(str(error))
                continue
            if projected is not None:
                found[row] = projected
    return tests, snapshots


def draw_embeddings(album: Album, found: Found) -> list[Picture]:
    """Draw test images' embeddings by t-SNE and by PCA."""
    if not found:
        return []
    first = next(iter(found.values()))
    names = first.cell.class_names
    ways, models = album.with_data(found)
    width = 0.6 + 2.2 * len(models) + album.title_inches(ways)
    seeds = {each.cell.seed for each in found.values()}
    frame = pd.DataFrame(
        {"method": row.method, "from": row.init, "model": row.model, "seed": each.cell.seed}
        | {"projection": kind}
        | vars(each.of(kind)[0].numbers)
        for row, each in found.items()
        for kind in ("pca", "tsne")
    ).set_index(["projection", "method", "from", "model"])
    pictures = []
    for kind, title, note in (
        ("tsne", "t-SNE", TSNE_NOTE),
        ("pca", "PCA", "The two directions of most variance, for a quick look. "),
    ):
        canvas = Canvas((width, 0.6 + 2.5 * len(ways)), layout="constrained")
        axes = canvas.subplots(len(ways), len(models), squeeze=False)
        for (ax, row), _ in album.panels(axes, ways, models, found):
            scatter(ax, found[row].of(kind)[0], size=7)
        add_class_legend(canvas, names)
        pictures.append(
            album.save(
                canvas,
                kind,
                f"Embeddings of test images by {title}",
                f"{_points_note(first.of(kind)[0])} {note}{NUMBERS_NOTE}"
                f" Seed {', '.join(str(seed) for seed in sorted(seeds))}.",
                frame.loc[kind],
            )
        )
    return pictures


def draw_snapshots(album: Album, found: Found) -> Picture | None:
    """Draw how the self-supervised encoder's embeddings part during training (figure 5)."""
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
        line[0].set_ylabel(_snapshots_title(row))
    last = list(found.values())[-1]
    add_class_legend(canvas, last.cell.class_names)
    frame = pd.DataFrame(
        {"method": row.method, "model": row.model, "step": step} | vars(projection.numbers)
        for row, each in found.items()
        for step, projection in zip(each.steps, each.of("tsne"), strict=True)
    ).set_index(["method", "model", "step"])
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


def _points_note(projection: Projection, split: str = "test") -> str:
    return f"The same {len(projection.labels):,} {split} images in each panel, chosen once."


def _snapshots_title(row: Row) -> str:
    """Name a line: by its model, and by its method if that is not the paper's."""
    model = model_title(row.model)
    return model if row.method == BARLOW else f"{model}\n{method_title(row.method)}"
