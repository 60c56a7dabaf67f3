"""Pictures of the report: curves, ratios, confusions, pseudo-labels and embeddings, per group."""

from collections.abc import Callable, Collection, Iterator

import matplotlib

from sslbench.machine.calls import Call, help_with
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

Draw = Callable[[Album], Iterator[Picture]]
DRAW: tuple[Draw, ...] = (
    *(draw_curves, draw_ratios, draw_time_to_accuracy),
    *(draw_separation, draw_embeddings, draw_confusions),
)
MEASURE_FIRST = (draw_separation, draw_embeddings)
"""What is measured in other processes, and drawn in this one."""


class Drawing:
    """The drawing of a report's pictures, which begins at once in other processes.

    Each picture is `figures/<name>.svg` below the report's folder, in other `formats` beside it,
    and so are its data, `.csv`.
    """

    def __init__(self, report: Report, formats: Collection[str] = ()) -> None:
        self._report, self._formats = report, formats
        groups = [each for each in report.groups if not is_ablation(each, report.groups)]
        parts = [(draw, Album(group, report.folder, formats)) for group in groups for draw in DRAW]
        # These before all others: this process waits for what they measure.
        self._here = {i: draw(it) for i, (draw, it) in enumerate(parts) if draw in MEASURE_FIRST}
        self._calls = {i: Call(_draw, *part) for i, part in enumerate(parts) if i not in self._here}
        self._albums = [album for _, album in parts]

    def finish(self) -> list[Picture]:
        """Draw what needs the report's tests, too; problems of cells are added to the report."""
        pictures = _drawn(draw_ablations(self._report, self._formats))
        help_with([*self._calls.values()])
        here = {number: _drawn(each) for number, each in self._here.items()}
        for number, album in enumerate(self._albums):
            found, problems = here.get(number), album.problems
            if found is None:
                found, problems = self._calls[number].result()
            pictures += found
            known = self._report.problems
            known += [each for each in problems if each not in known]
        return pictures


def _draw(draw: Draw, album: Album) -> tuple[list[Picture], list[str]]:
    return _drawn(draw(album)), album.problems


def _drawn(pictures: Iterator[Picture]) -> list[Picture]:
    with matplotlib.rc_context(fname=STYLE):
        return list(pictures)
