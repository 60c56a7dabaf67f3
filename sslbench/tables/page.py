"""The report as one HTML file that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections import Counter
from itertools import groupby
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from sslbench.cell.record import DONE
from sslbench.files.atomic import replace_file
from sslbench.tables.contents import Report
from sslbench.tables.tables import claim_tables
from sslbench.words.escape import printable

HERE = Path(__file__).parent


def write_page(path: Path, report: Report) -> None:
    """Write the report to one file, all escaped, that forbids requests and scripts of others."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, finalize=_shown)
    environment.globals["zip"] = zip
    script = (HERE / "report.js").read_text()
    html = environment.get_template("report.html.jinja").render(
        report=report,
        style=Markup((HERE / "report.css").read_text()),
        script=Markup(script),
        digest=_base64(hashlib.sha256(script.encode()).digest()),
        states=sorted(Counter(cell.status for cell in report.cells).items()),
        claims={name: list(found) for name, found in groupby(report.claims, lambda c: c.group)},
        embedded=[(each, _base64(each.path.read_bytes())) for each in report.pictures],
        unfinished=pd.DataFrame(
            {"cell": cell.cell_id, "state": cell.status, "error": _error(cell.record.error or {})}
            for cell in report.cells
            if cell.status != DONE
        ),
        tests=claim_tables(report.claims)[1],
    )
    # A folder's name need not be UTF-8.
    contents = html.encode(errors="backslashreplace")
    replace_file(path, lambda file: file.write(contents))


def _shown(value: object) -> object:
    """Show control characters, and those that turn a text around, as escapes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _error(error: dict[str, str]) -> str:
    return ": ".join(str(error[key]) for key in ("type", "message") if key in error)[:300]
