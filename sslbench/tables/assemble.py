"""From folders of cells to everything that a report says, and from that to its files."""

from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.files.atomic import write_json
from sslbench.tables.ablations import find_ablations
from sslbench.tables.as_json import to_json
from sslbench.tables.claims import NO_DATA
from sslbench.tables.commands import fill_command
from sslbench.tables.compare import Predictions
from sslbench.tables.comparisons import find_comparisons
from sslbench.tables.contents import Report
from sslbench.tables.environment import environment_tables
from sslbench.tables.findings import find_findings
from sslbench.tables.first_table import first_table
from sslbench.tables.gather import gather_all, notes_of
from sslbench.tables.groups import Group, find_groups, has_paper_rows, is_ablation, main_group
from sslbench.tables.judge import can_test_claims, group_claims, paper_claims
from sslbench.tables.page import write_page
from sslbench.tables.readings import is_of_readings, reading_tables
from sslbench.tables.render import write_table
from sslbench.tables.tables import ablation_table, build_tables, claim_tables
from sslbench.tables.time_to_accuracy import time_tables

if TYPE_CHECKING:
    from sslbench.tables.pictures import Drawing


def build_report(outputs: Path, *others: Path, with_paper: bool = False) -> Report:
    """Read all cells below folders into tables and verdicts, without pictures.

    Args:
        with_paper: Whether the paper is shown beside someone's own ablation alone, too.
    """
    report = gather_report(outputs, *others, with_paper=with_paper)
    judge(report)
    return report


def gather_report(outputs: Path, *others: Path, with_paper: bool = False) -> Report:
    """Read all cells below folders into groups: all that most pictures need."""
    cells, problems = gather_all([outputs, *others])
    groups, misfits = find_groups(cells)
    report = Report(outputs, cells, groups, problems=problems + misfits, notes=notes_of(cells))
    report.has_paper_cells = with_paper or _is_on_paper(groups)
    for group in groups:
        group.beside_paper = report.has_paper_cells
    report.main = main_group(groups)
    return report


def judge(report: Report) -> None:
    """Add tables and verdicts to a report's cells and groups."""
    groups, problems = report.groups, report.problems
    predictions = Predictions(problems)
    report.environment = environment_tables(report.cells)
    report.ablations = find_ablations(groups, predictions)
    if not report.has_paper_cells:
        found = find_comparisons(groups, report.ablations, predictions)
        report.ablations = found + report.ablations
    ablations = [ablation_table(each) for each in report.ablations if not is_of_readings(each)]
    if any(map(is_of_readings, report.ablations)):
        ablations += reading_tables(groups, predictions)
    if not report.has_paper_cells:
        if _is_square(report.main):
            report.first_table = first_table(report.main)
        report.tables = ablations + time_tables(groups, problems)
        wanted = [(g, g.chosen_rows() if g is report.main else g.rows) for g in groups]
        report.fill_command = fill_command(wanted, str(report.outputs))
        return
    report.claims = [*paper_claims()]
    for group in groups:
        if not is_ablation(group, groups):
            found = group_claims(group, predictions)
            if group is report.main or any(claim.verdict != NO_DATA for claim in found):
                report.claims += found
    report.tables = build_tables(groups) + ablations + time_tables(groups, problems)
    if report.main is not None:
        report.first_table = first_table(report.main)
        report.findings = find_findings(report.main, predictions)
        own = [g for g in groups if g.data == report.main.data and is_ablation(g, groups)]
        wanted = [(report.main, report.main.chosen_rows()), *((g, g.rows) for g in own)]
        report.fill_command = fill_command(wanted, str(report.outputs))


def _is_on_paper(groups: list[Group]) -> bool:
    """Whether the paper's question comes first: cells tell of a claim, or of nothing else.

    Else they are compared with each other, even where one has a place in the paper's tables.
    """
    are_all_papers = all(group.is_paper for group in groups)
    is_one_row = sum(len(group.rows) for group in groups) == 1
    is_on_paper = are_all_papers or is_one_row or can_test_claims(groups)
    return not groups or (has_paper_rows(groups) and is_on_paper)


def _is_square(group: Group) -> bool:
    """Whether a group has several methods and several models."""
    return min(len({row[place] for row in group.rows}) for place in (0, 1)) > 1


def write_report(report: Report, drawing: "Drawing | None" = None) -> Path:
    """Write tables, pictures, `report.json` and the page, and return where that is."""
    report.folder.mkdir(parents=True, exist_ok=True)
    claims = claim_tables(report.claims) if report.claims else []
    for table in report.tables + claims + report.environment:
        write_table(table, report.folder)
    if drawing is not None:
        report.pictures = drawing.finish()
    write_json(report.folder / "report.json", to_json(report))
    return write_page(report.folder, report)
