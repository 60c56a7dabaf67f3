"""The first screen of a report in words: what was asked, on which data, what is wrong."""

from collections.abc import Iterable
from textwrap import shorten

from sslbench import paper
from sslbench.cell.record import DONE, FAILED
from sslbench.tables.contents import Report
from sslbench.tables.gather import Cell
from sslbench.tables.groups import Group
from sslbench.tables.sentences import listed
from sslbench.tables.statistics import IMAGES

PAPER_TITLE = "Self and Semi-Supervised Deep Learning"
MOST_LETTERS = 80
"""Of an error's message."""


def question(report: Report) -> str:
    """Return what the report answers: whether the paper holds, or how someone's own cells do."""
    if not report.has_paper_cells:
        return report.ablations[0].question
    return f"Does “{PAPER_TITLE}” hold?"


def facts(report: Report) -> list[str]:
    """Say which data, cells, seeds and hardware the verdict is of, data first; then what runs.

    It is on the main group where the paper is shown, else on all.
    """
    if report.main is None:
        return ["no cells that can be read" if report.problems else "no cells"]
    groups = [report.main] if report.has_paper_cells else report.groups
    return [_data_words(groups), *filter(None, _cell_words(groups)), *_under_way(report)]


def _under_way(report: Report) -> list[str]:
    """Name the cells that are neither finished nor failed, by their state."""
    titles: dict[str, list[str]] = {}
    for cell in report.cells:
        if cell.status not in (DONE, FAILED):
            titles.setdefault(cell.status, []).append(cell.title)
    return [f"{state}: {listed(titles[state])}" for state in sorted(titles)]


def _data_words(groups: list[Group]) -> str:
    """Say what data cells are of, and how many images: `NOT STL-10` where they are not."""
    if len(groups) == 1:
        (group,) = groups
        is_plain = group.data == paper.DATA or not group.beside_paper
        return f"{'' if is_plain else 'NOT STL-10: '}{group.title}{_sizes(group)}"
    names: dict[str, str] = {}
    for group in groups:
        names[group.data_title] = names.get(group.data_title) or _sizes(group)
    return listed([name + sizes for name, sizes in names.items()])


def _sizes(group: Group) -> str:
    """Return how many images a group's cells have of each kind; nothing if none is finished."""
    done = [cell.record.data for cell in group.cells() if cell.status == DONE]
    if not done:
        return ""
    sizes = [("labeled", "labelled"), ("unlabeled", "unlabelled"), ("val", "val"), ("test", "test")]
    numbers = [f"{done[0].get(f'num_{key}', 0):,} {word}" for key, word in sizes]
    return f" ({', '.join(numbers)} images)"


def _cell_words(groups: list[Group]) -> list[str]:
    """Say how many cells are done, with which seeds, and on what hardware.

    Of one group, they are those of its grid, else those that were asked for.
    """
    done = [cell for group in groups for cell in group.cells() if cell.status == DONE]
    seeds = sorted({cell.seed for cell in done})
    if len(groups) == 1:
        number = len(groups[0].chosen_rows()) * max(1, len(seeds))
    else:
        number = sum(len(group.cells()) for group in groups)
    machines = dict.fromkeys(
        f"{cell.record.runtime.get('processor') or 'unknown hardware'} "
        f"{cell.record.runtime.get('precision') or ''}".strip()
        for cell in done
    )
    seed_words = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""
    return [f"{len(done)} of {number} cells", seed_words, listed(list(machines)) if done else ""]


def interval_words(kinds: Iterable[str | None]) -> str:
    """Say what intervals are of, `images` or `seeds and images`; a star marks those of one seed."""
    found = {kind for kind in kinds if isinstance(kind, str)}
    star = ["images alone: one seed (*)"] if IMAGES in found else []
    return f"of {', or of '.join([*sorted(found - {IMAGES}), *star])}" if found else ""


def is_other_data(report: Report) -> bool:
    """Whether the answer is on the paper, and of other data than the paper's."""
    is_other = report.main is not None and report.main.data != paper.DATA
    return is_other and report.has_paper_cells


def alerts(report: Report) -> list[str]:
    """Name collapsed, failed and missing cells, and what they bear on."""
    lines = []
    for title, why in report.collapsed.items():
        numbers = [str(claim.number) for claim in report.main_claims if title in claim.collapsed]
        plural = "s" * (len(numbers) > 1)
        bears_on = f", bears on claim{plural} {listed(numbers)}" if numbers else ""
        lines.append(f"collapsed: {title} ({why}){bears_on}")
    if failed := [_failure(cell) for cell in report.cells if cell.status == FAILED]:
        lines.append(f"failed: {listed(failed)}")
    if missing := missing_titles(report):
        lines.append(f"missing: {listed(missing)}")
    return lines


def _failure(cell: Cell) -> str:
    message = str((cell.record.error or {}).get("message") or "")
    return cell.title + (f" ({shorten(message, MOST_LETTERS, placeholder='…')})" if message else "")


def missing_titles(report: Report) -> list[str]:
    """Return what was chosen for the main group and has no cell, whatever its state."""
    if report.main is None:
        return []
    return [_row_title(row) for row in report.main.chosen_rows() if row not in report.main.rows]


def _row_title(row: paper.Row) -> str:
    words = [paper.title(row.model), paper.title(row.method), row.ratio or ""]
    words += [f"from {paper.title(row.init)}"] if row.init else []
    return " ".join(filter(None, words))
