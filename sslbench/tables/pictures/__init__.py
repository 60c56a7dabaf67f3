"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

import matplotlib

from sslbench.tables.contents import Picture, Report
from sslbench.tables.groups import is_ablation
from sslbench.tables.pictures.album import STYLE, Album
from sslbench.tables.pictures.confusions import draw_confusions
from sslbench.tables.pictures.curves import draw_curves
from sslbench.tables.pictures.embeddings import draw_embeddings
from sslbench.tables.pictures.ratios import draw_ratios
from sslbench.tables.pictures.time_to_accuracy import draw_time_to_accuracy

DRAWN = (draw_curves, draw_time_to_accuracy, draw_ratios, draw_confusions, draw_embeddings)


def draw_pictures(report: Report) -> list[Picture]:
    """Draw all that a report's cells have data for; problems of theirs are added to the report.

    Each picture is `figures/<name>.png` below the report's folder, its data the `.csv` beside it.
    """
    albums = [Album(each, report) for each in report.groups if not is_ablation(each, report.groups)]
    with matplotlib.rc_context(fname=STYLE):
        return [picture for album in albums for draw in DRAWN for picture in draw(album)]
