"""The report as one HTML file that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from sslbench.atomic import replace_file
from sslbench.cell.record import DONE
from sslbench.tables.contents import Picture, Report
from sslbench.tables.gather import Cell
from sslbench.tables.tables import claim_tables

HERE = Path(__file__).parent
MAX_IMAGE_BYTES = 4_400_000
"""Of all embedded images together, as base64: the file shall stay below 5 MB."""
ERROR_LENGTH = 300


def write_page(path: Path, report: Report) -> None:
    """Write the report to one file: pictures inside it, tables that sort and filter.

    Everything that comes from cells is escaped; a policy in the file forbids all scripts but its
    own, and all requests.
    """
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    environment.globals["zip"] = zip
    script = (HERE / "report.js").read_text()
    html = environment.get_template("report.html.jinja").render(
        report=report,
        style=Markup((HERE / "report.css").read_text()),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        states=sorted(Counter(cell.status for cell in report.cells).items()),
        claims={name: list(found) for name, found in groupby(report.claims, lambda c: c.group)},
        embedded=list(_embedded(report.pictures)),
        unfinished=pd.DataFrame(
            {"cell": cell.cell_id, "state": cell.status, "error": _error(cell)}
            for cell in report.cells
            if cell.status != DONE
        ),
        tests=claim_tables(report.claims)[1],
    )
    # A folder's name need not be UTF-8.
    contents = html.encode(errors="backslashreplace")
    replace_file(path, lambda file: file.write(contents))


def _embedded(pictures: list[Picture]) -> Iterator[tuple[Picture, str]]:
    """Yield pictures as base64 until the file would be too large; of the rest, nothing."""
    room = MAX_IMAGE_BYTES
    for picture in pictures:
        data = base64.b64encode(picture.path.read_bytes()).decode()
        room -= len(data)
        yield picture, data if room >= 0 else ""


def _error(cell: Cell) -> str:
    error = cell.record.error
    return f"{error.get('type', '')}: {error.get('message', '')}"[:ERROR_LENGTH] if error else ""
