"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

from collections.abc import Collection

import matplotlib

from sslbench.scatter import STYLE
from sslbench.tables.contents import Picture, Report
from sslbench.tables.groups import is_ablation
from sslbench.tables.pictures.ablations import draw_ablations
from sslbench.tables.pictures.album import Album
from sslbench.tables.pictures.confusions import draw_confusions
from sslbench.tables.pictures.curves import draw_curves
from sslbench.tables.pictures.embeddings import draw_embeddings
from sslbench.tables.pictures.ratios import draw_ratios
from sslbench.tables.pictures.separation import draw_separation
from sslbench.tables.pictures.time_to_accuracy import draw_time_to_accuracy

DRAW = (
    *(draw_curves, draw_ratios, draw_time_to_accuracy),
    *(draw_separation, draw_embeddings, draw_confusions),
)


def draw_pictures(report: Report, formats: Collection[str] = ()) -> list[Picture]:
    """Draw all that a report's cells have data for; problems of theirs are added to the report.

    Each picture is `figures/<name>.svg` below the report's folder, in other `formats` beside it,
    and so are its data, `.csv`.
    """
    groups = [each for each in report.groups if not is_ablation(each, report.groups)]
    albums = [Album(each, report, formats) for each in groups]
    with matplotlib.rc_context(fname=STYLE):
        of_groups = [picture for album in albums for draw in DRAW for picture in draw(album)]
        return [*draw_ablations(report, formats), *of_groups]
