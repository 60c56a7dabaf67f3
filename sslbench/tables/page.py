"""The report as one HTML file that needs nothing else: no network, no other file."""

import base64
import hashlib
import io
import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from PIL import Image

from sslbench import paper
from sslbench.cell.record import DATA_TITLES, DONE, PREVIEW
from sslbench.files.atomic import replace_file
from sslbench.tables import answer
from sslbench.tables.claims import PAPER_GROUP
from sslbench.tables.contents import Report
from sslbench.tables.tables import claim_tables
from sslbench.words.escape import printable

HERE = Path(__file__).parent
PREVIEW_WIDTH, PREVIEW_QUALITY = 1000, 70
PAGE, PLAIN_PAGE = "report.html", "report-no-figures.html"
PICTURE = b'<figure id="picture-'
HYPHEN = re.compile(r"(?<!\w)-(?=\d)")
"""One that stands for a minus."""
LEAST_EFFECT = 0.02
"""To which small effects are not drawn larger than they are."""
EMBEDDED = {"svg": "image/svg+xml", "webp": "image/webp"}


def write_page(folder: Path, report: Report) -> Path:
    """Write the report to one file, all escaped, that forbids requests and scripts of others.

    A page without pictures never takes the place of one with them: it stands beside it.
    """
    path = folder / PAGE
    if not report.pictures and _has_pictures(path):
        path = folder / PLAIN_PAGE
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_shown,
        extensions=["jinja2.ext.do"],
    )
    environment.filters["embedded"] = _embedded
    environment.filters["minus"] = lambda text: HYPHEN.sub("\N{MINUS SIGN}", text)
    script = (HERE / "report.js").read_text()
    paper_claims = {each.number: each for each in report.claims if each.group == PAPER_GROUP}
    html = environment.get_template("report.html.jinja").render(
        report=report,
        answer=answer,
        style=Markup((HERE / "report.css").read_text()),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        paper_claims=paper_claims,
        limit=_largest_effect(report),
        embedded=[(each, each.path.read_bytes()) for each in report.pictures],
        previews=_previews(report),
        unfinished=pd.DataFrame(
            {"cell": cell.cell_id, "state": cell.status, "error": _error(cell.record.error or {})}
            for cell in report.cells
            if cell.status != DONE
        ),
        tests=claim_tables(report.claims)[1],
        paper_title=paper.title,
    )
    # A folder's name need not be UTF-8.
    contents = html.encode(errors="backslashreplace")
    replace_file(path, lambda file: file.write(contents))
    return path


def _has_pictures(path: Path) -> bool:
    return path.exists() and PICTURE in path.read_bytes()


def _shown(value: object) -> object:
    """Show control characters, and those that turn a text around, as escapes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _embedded(data: bytes, kind: str) -> str:
    """Return a picture as the address of an image."""
    return f"data:{EMBEDDED[kind]};base64,{base64.b64encode(data).decode()}"


def _largest_effect(report: Report) -> float:
    """Return the bound of the axis on which all effects are drawn, a fraction.

    It leaves out what a collapsed cell makes, so that the others are seen.
    """
    effects = [(each.without_collapsed or each).effect for each in report.main_claims]
    bounds = [abs(bound) for effect in effects if effect for bound in (effect.low, effect.high)]
    for ablation in report.ablations:
        values = ablation.values
        sound = values[(values["metric"] == paper.TEST.title) & ~values["collapsed"].astype(bool)]
        bounds += list(sound[["difference_low", "difference_high"]].abs().max().dropna())
    return max([LEAST_EFFECT, *bounds])


def _previews(report: Report) -> list[tuple[str, bytes]]:
    """Return of each data set what a cell saw of it, as WebP under the data set's name."""
    found: dict[str, bytes] = {}
    for cell in report.cells:
        path = cell.folder / PREVIEW
        if cell.data not in found and path.exists():
            try:
                with Image.open(path) as image, io.BytesIO() as file:
                    image = image.convert("RGB")
                    image.thumbnail((PREVIEW_WIDTH, 10 * PREVIEW_WIDTH))
                    image.save(file, format="WEBP", quality=PREVIEW_QUALITY)
                    found[cell.data] = file.getvalue()
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                report.problems.append(f"{path}: not a picture ({error}); it is left out")
    return [(DATA_TITLES.get(name, name), data) for name, data in found.items()]


def _error(error: dict[str, str]) -> str:
    return ": ".join(str(error[key]) for key in ("type", "message") if key in error)[:300]
