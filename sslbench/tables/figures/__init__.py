"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import matplotlib

from sslbench.evaluate.projection import Projections
from sslbench.tables.contents import Figure, Report
from sslbench.tables.figures.album import Album
from sslbench.tables.figures.confusions import draw_confusions
from sslbench.tables.figures.curves import draw_learning_curves, draw_pseudo_labels, read_curves
from sslbench.tables.figures.embeddings import (
    Projecting,
    draw_embeddings,
    draw_snapshots,
    projecting_beside,
)
from sslbench.tables.figures.look import STYLE
from sslbench.tables.figures.ratios import draw_ratios
from sslbench.tables.groups import is_ablation


@contextmanager
def figures_started(report: Report) -> Iterator[Callable[[], list[Figure]]]:
    """Begin with what takes longest, and yield what draws all that a report's cells have data for.

    Each picture is `figures/<name>.png` below the report's folder, its data the `.csv` beside it;
    coordinates of embeddings are in `embeddings/<cell>-<what>.npz`. What cannot be read is added to
    the report's problems.
    """
    groups = report.groups
    albums = [Album(group, report) for group in groups if not is_ablation(group, groups)]
    projecting = [Projecting(album) for album in albums]
    missing = [projected for each in projecting for projected in each.missing()]
    with projecting_beside(missing) as made:
        yield lambda: _draw(zip(albums, projecting, strict=True), made)


def _draw(albums: Iterable[tuple[Album, Projecting]], made: Iterator[Projections]) -> list[Figure]:
    with matplotlib.rc_context(STYLE):
        return [
            figure
            for album, projecting in albums
            for figure in _draw_album(album, projecting, made)
            if figure is not None
        ]


def _draw_album(
    album: Album, projecting: Projecting, made: Iterator[Projections]
) -> list[Figure | None]:
    curves = read_curves(album)
    figures = [
        draw_learning_curves(album, curves),
        draw_ratios(album),
        draw_pseudo_labels(album, curves),
        draw_confusions(album),
    ]
    projecting.finish(made)
    return [*figures, *draw_embeddings(album, projecting), draw_snapshots(album, projecting)]
