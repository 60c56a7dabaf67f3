"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

from sslbench.tables.contents import Picture, Report
from sslbench.tables.groups import is_ablation
from sslbench.tables.pictures.album import Album
from sslbench.tables.pictures.confusions import draw_confusions
from sslbench.tables.pictures.curves import draw_learning_curves, draw_pseudo_labels, read_curves
from sslbench.tables.pictures.embeddings import draw_embeddings, draw_snapshots, find_all_projected
from sslbench.tables.pictures.ratios import draw_ratios
from sslbench.tables.projections import Projections, finish_projections, projecting_beside

STYLE = Path(__file__).with_name("pictures.mplstyle")


@contextmanager
def pictures_started(report: Report) -> Iterator[Callable[[], list[Picture]]]:
    """Begin with what takes longest, and yield what draws all that a report's cells have data for.

    Each picture is `figures/<name>.png` below the report's folder, its data the `.csv` beside it;
    coordinates of embeddings are in `embeddings/<cell>-<what>.npz`. What cannot be read is added to
    the report's problems.
    """
    groups = [group for group in report.groups if not is_ablation(group, report.groups)]
    albums = [Album(group, report) for group in groups]
    projected = [find_all_projected(album) for album in albums]
    flat = [each for kinds in projected for found in kinds for each in found.values()]

    def draw(made: Iterator[Projections]) -> Iterator[Picture | None]:
        for album, (tests, snapshots) in zip(albums, projected, strict=True):
            curves = read_curves(album)
            yield draw_learning_curves(album, curves)
            yield draw_ratios(album)
            yield draw_pseudo_labels(album, curves)
            yield draw_confusions(album)
            finish_projections([*tests.values(), *snapshots.values()], made)
            yield from draw_embeddings(album, tests)
            yield draw_snapshots(album, snapshots)

    def draw_all() -> list[Picture]:
        with matplotlib.rc_context(fname=STYLE):
            return [picture for picture in draw(made) if picture is not None]

    with projecting_beside(flat) as made:
        yield draw_all
