"""The report as one HTML file that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from sslbench.atomic import replace_file
from sslbench.cell.record import DONE
from sslbench.tables.claims import CONTRADICTED, HOLDS, NO_DATA, UNDECIDED, ClaimResult
from sslbench.tables.contents import Picture, Report
from sslbench.tables.gather import Cell
from sslbench.tables.tables import claim_tables

HERE = Path(__file__).parent
MAX_IMAGE_BYTES = 4_400_000
"""Of all embedded images together, as base64: the file shall stay below 5 MB."""
ALWAYS_SHOWN = 10
"""Problems and commands that are shown without unfolding."""
NARROW = 40
"""Shorter cells of a table are kept in one line."""
ERROR_LENGTH = 300
BADGES = {HOLDS: "good", CONTRADICTED: "bad", UNDECIDED: "open", NO_DATA: "none"}


def write_page(path: Path, report: Report) -> None:
    """Write the report to one file: pictures inside it, tables that sort and filter.

    Everything that comes from cells is escaped; a policy in the file forbids all scripts but its
    own, and all requests.
    """
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    environment.filters["numeric_columns"] = numeric_columns
    script = (HERE / "report.js").read_text()
    tests = next(table for table in claim_tables(report.claims) if table.name == "claims-tests")
    html = environment.get_template("report.html.jinja").render(
        report=report,
        style=Markup((HERE / "report.css").read_text()),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        badges=BADGES,
        always_shown=ALWAYS_SHOWN,
        narrow=NARROW,
        states=sorted(Counter(cell.status for cell in report.cells).items()),
        claim_groups=_claim_groups(report.claims),
        claim_texts={claim.number: claim.claim for claim in report.claims},
        embedded=list(_embedded(report.pictures)),
        unfinished=pd.DataFrame(_unfinished(cell) for cell in report.cells if cell.status != DONE),
        tests=tests.frame,
        tests_note=tests.note,
    )
    # A folder's name need not be UTF-8.
    contents = html.encode(errors="backslashreplace")
    replace_file(path, lambda file: file.write(contents))


def numeric_columns(frame: pd.DataFrame) -> list[bool]:
    """Say which columns are to be set flush right: numbers, with what goes beside them."""
    return [_is_numeric([str(value) for value in frame[column]]) for column in frame.columns]


def _is_numeric(texts: list[str]) -> bool:
    filled = [text for text in texts if text not in ("", "-")]
    return bool(filled) and all(
        text.lstrip("[<+- ")[:1].isdigit() and ":" not in text for text in filled
    )


def _claim_groups(claims: list[ClaimResult]) -> dict[str, list[ClaimResult]]:
    groups: dict[str, list[ClaimResult]] = {}
    for claim in claims:
        groups.setdefault(claim.group, []).append(claim)
    return groups


def _embedded(pictures: list[Picture]) -> Iterator[tuple[Picture, str]]:
    """Yield pictures as base64 until the file would be too large; of the rest, nothing."""
    room = MAX_IMAGE_BYTES
    for picture in pictures:
        data = base64.b64encode(picture.path.read_bytes()).decode()
        room -= len(data)
        yield picture, data if room >= 0 else ""


def _unfinished(cell: Cell) -> dict[str, str]:
    error = cell.record.error if cell.record else None
    text = f"{error.get('type', '')}: {error.get('message', '')}"[:ERROR_LENGTH] if error else ""
    return {"cell": cell.cell_id, "state": cell.status, "error": text}
