"""The first screen of a report in words: what was asked, on which data, what is wrong."""

from collections import Counter

from sslbench.cell.record import DONE, FAILED
from sslbench.tables import paper
from sslbench.tables.contents import Report
from sslbench.tables.overview import cell_words, data_words, shown_groups
from sslbench.tables.sentences import listed

PAPER_TITLE = "Self and Semi-Supervised Deep Learning"


def question(report: Report) -> str:
    """Return what the report answers: whether the paper holds, or how someone's own cells do."""
    if not report.has_paper_cells:
        return report.ablations[0].question
    return f"Does “{PAPER_TITLE}” hold?"


def facts(report: Report) -> list[str]:
    """Say which data, cells, seeds and hardware the answer is of."""
    if report.main is None:
        return ["no cells"]
    return [*data_words(report.main), *filter(None, cell_words(*shown_groups(report)))]


def is_other_data(report: Report) -> bool:
    """Whether the answer is on the paper, and of other data than the paper's."""
    is_other = report.main is not None and report.main.data != paper.DATA
    return is_other and report.has_paper_cells


def alerts(report: Report) -> list[str]:
    """Name collapsed, failed, unfinished and missing cells, and what they bear on."""
    lines = []
    for title, why in report.collapsed.items():
        numbers = [str(claim.number) for claim in report.main_claims if title in claim.collapsed]
        plural = "s" * (len(numbers) > 1)
        bears_on = f", bears on claim{plural} {listed(numbers)}" if numbers else ""
        lines.append(f"collapsed: {title} ({why}){bears_on}")
    if failed := [cell.title for cell in report.cells if cell.status == FAILED]:
        lines.append(f"failed: {listed(failed)}")
    states = Counter(cell.status for cell in report.cells if cell.status not in (DONE, FAILED))
    if states:
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        lines.append(f"not finished: {told}")
    if missing := missing_titles(report):
        lines.append(f"missing: {listed(missing)}")
    return lines


def missing_titles(report: Report) -> list[str]:
    """Return what was chosen for the main group and has no cell, whatever its state."""
    if report.main is None:
        return []
    return [_row_title(row) for row in report.main.chosen_rows() if row not in report.main.rows]


def _row_title(row: paper.Row) -> str:
    words = [paper.title(row.model), paper.title(row.method), row.ratio or ""]
    words += [f"from {paper.title(row.init)}"] if row.init else []
    return " ".join(filter(None, words))
