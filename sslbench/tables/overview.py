"""The report's first screen as text: the verdict, its data and cells, one table, the claims."""

import textwrap
from shutil import get_terminal_size

from tabulate import tabulate

from sslbench.paper import VAL
from sslbench.tables.answer import alerts, facts, question
from sslbench.tables.contents import FirstTable, Place, Report
from sslbench.tables.judge import paper_claims
from sslbench.tables.statistics import IMAGES
from sslbench.words.escape import visible

WIDTH, LABEL = 100, 24
"""Most columns of a text, and of what a row of the first table is called."""
INDENT = " " * 4
MARKS = {"^": "^ best", "*": "* of images alone: one seed", "!": "! no better than chance"}


def overview(report: Report) -> str:
    """Return what answers `does it hold?`, and what there is to know of that answer."""
    lines = [question(report), report.verdict, "; ".join(facts(report))]
    lines += [f"! {alert}" for alert in alerts(report)]
    blocks = [_wrapped(visible(line)) for line in lines]
    if report.first_table is not None:
        blocks += ["", first_table_text(report.first_table)]
    if report.main_claims:
        blocks += ["", _claims(report)]
    if report.findings:
        findings = [_wrapped(f"{each}.", "  ") for each in report.findings]
        blocks += ["", "Beyond the claims:", *findings]
    if report.fill_command:
        blocks += ["", "To fill all gaps:", f"  {report.fill_command}"]
    return "\n".join(blocks) + "\n"


def first_table_text(table: FirstTable) -> str:
    """Lay the first table out for a terminal: models as columns, the paper's below ours.

    Where the terminal has room an interval stands beside its number.
    """
    wide = _laid_out(table, is_wide=True)
    fits = max(map(len, wide.splitlines())) <= get_terminal_size().columns
    return wide if fits else _laid_out(table, is_wide=False)


def _laid_out(table: FirstTable, *, is_wide: bool) -> str:
    heads = ["test acc %", *table.models, "order"]
    has_order = any(line.order or line.paper_order for line in table.lines)
    rows = []
    for line in table.lines:
        name = "\n".join(textwrap.wrap(line.kind, LABEL))
        rows.append([name, *(_ours(it, with_interval=is_wide) for it in line.places), line.order])
        if not is_wide and any(place.low is not None for place in line.places):
            rows.append(["  95 % interval", *map(_interval, line.places), ""])
        if any(place.paper is not None for place in line.places):
            metric = ", val acc" if line.paper_metric == VAL.title else ""
            theirs = [_percent(place.paper) for place in line.places]
            rows.append([f"  {table.paper_heading}{metric}", *theirs, line.paper_order])
    align = ["left", *["right"] * len(table.models), "left"]
    if not has_order:
        heads, rows, align = heads[:-1], [row[:-1] for row in rows], align[:-1]
    options = {"colalign": align, "disable_numparse": True, "preserve_whitespace": True}
    text = tabulate(rows, heads, tablefmt="simple", **options)
    used = [words for mark, words in MARKS.items() if any(mark in "".join(row[1:]) for row in rows)]
    return "\n".join([text, "; ".join(used)] if used else [text])


def _ours(place: Place, *, with_interval: bool) -> str:
    if place.ours is None:
        return "-"
    star = "*" if place.interval_of == IMAGES else ""
    best, mark = "^" if place.is_best else "", " !" if place.collapsed else ""
    interval = f" {_interval(place)}" if with_interval and place.low is not None else ""
    return f"{best}{_percent(place.ours)}{interval}{star}{mark}"


def _interval(place: Place) -> str:
    return "" if place.low is None else f"[{_percent(place.low)}, {_percent(place.high)}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _claims(report: Report) -> str:
    papers = {claim.number: claim.verdict for claim in paper_claims()}
    lines = ["The paper's claims (its own tables: ours)"]
    for claim in report.main_claims:
        verdicts = f"{papers[claim.number]}: {claim.verdict.upper()}"
        lines.append(_wrapped(f"{claim.number}. {claim.text} ({verdicts})"))
        lines.append(_wrapped(visible(claim.sentence), INDENT))
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> str:
    """Break a text into lines that the terminal has room for."""
    width = min(WIDTH, get_terminal_size().columns)
    more = {"initial_indent": indent, "subsequent_indent": indent or "  "}
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, **more)
