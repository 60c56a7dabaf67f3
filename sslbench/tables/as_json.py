"""Everything that a report says, as JSON: numbers unrounded, accuracies as fractions."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from sslbench.files.checksums import finite_numbers
from sslbench.tables.answer import alerts, facts, question
from sslbench.tables.claims import Claim
from sslbench.tables.contents import Ablation, Report, Table

FORMAT = 1
"""Raised when a key changes its meaning or goes."""


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON values; what is not known, or is no finite number, is null."""
    main, table = report.main, report.first_table
    contents = {
        "format": FORMAT,
        "outputs": str(report.outputs),
        "generated": report.generated,
        "question": question(report),
        "verdict": report.verdict,
        "shows_paper": report.has_paper_cells,
        "on": {"group": main.title, "words": facts(report)} if main else None,
        "alerts": alerts(report),
        "collapsed": report.collapsed,
        "first_table": None if table is None else _first_table(asdict(table)),
        "claims": [_claim(claim) for claim in report.claims],
        "findings": report.findings,
        "fill_command": report.fill_command,
        "ablations": [_ablation(ablation) for ablation in report.ablations],
        "tables": [_table(each) for each in report.tables],
        "pictures": [
            {"name": each.name, "title": each.title, "caption": each.caption, "alt": each.alt}
            for each in report.pictures
        ],
        "environment": [_table(each) for each in report.environment],
        "cells": [
            {"cell": cell.cell_id, "title": cell.title, "status": cell.status, "code": cell.code}
            | {"error": cell.record.error, "collapse": cell.collapse, "data": cell.data}
            | {"changes": cell.record.changes, "start": cell.start}
            for cell in report.cells
        ],
        "problems": report.problems,
        "notes": report.notes,
    }
    return finite_numbers(contents)


def _first_table(table: dict[str, Any]) -> dict[str, Any]:
    lines = [line._asdict() for line in table.pop("lines")]
    places = [[place._asdict() for place in line.pop("places")] for line in lines]
    both = zip(lines, places, strict=True)
    return table | {"lines": [line | {"places": of_line} for line, of_line in both]}


def _claim(claim: Claim) -> dict[str, Any]:
    other, effect = claim.without_collapsed, claim.effect
    return {
        "number": claim.number,
        "text": claim.text,
        "group": claim.group,
        "verdict": claim.verdict,
        "sentence": claim.sentence,
        "effect": None if effect is None else effect._asdict(),
        "num_missing": claim.num_missing,
        "tests": _lines(claim.tests),
        "collapsed": claim.collapsed,
        "without_collapsed": None if other is None else _claim(other),
    }


def _ablation(ablation: Ablation) -> dict[str, Any]:
    names = {"name": ablation.name, "title": ablation.title, "keys": list(ablation.keys)}
    names |= {"question": ablation.question}
    return names | {"sentence": ablation.sentence, "lines": _lines(ablation.values)}


def _table(table: Table) -> dict[str, Any]:
    names = {"name": table.name, "title": table.title, "note": table.note}
    return names | {"lines": _lines(table.values)}


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's lines with numbers as Python's own."""
    return frame.astype(object).to_dict("records")
