"""The report as one HTML file that needs nothing else: no network, no other file."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

import pandas as pd

from sslbench.atomic import replace_file
from sslbench.cell.record import DONE
from sslbench.tables.claims import ClaimResult
from sslbench.tables.contents import Figure, Report, Table
from sslbench.tables.gather import Cell
from sslbench.tables.tables import claim_tables

MAX_IMAGE_BYTES = 4_400_000
"""Of all embedded images together, as base64: the file shall stay below 5 MB."""
ALWAYS_SHOWN = 10
"""Problems and commands that are shown without unfolding."""
ERROR_LENGTH = 300

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #5a5a66; --paper: #fff; --line: #d6d6de;
  --raised: #f4f4f8; --accent: #0b5cad; --good: #0a6b3d; --bad: #a32a10; --open: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --soft: #a9a9b6; --paper: #16161a;
  --line: #3b3b46; --raised: #212128; --accent: #7db7f5; --good: #6ed3a0; --bad: #ff9d85;
  --open: #f0c674; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 75rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; margin: 0; }
h2 { border-bottom: 1px solid var(--line); margin: 2.5rem 0 1rem; padding-bottom: .25rem; }
h3 { margin: 2rem 0 .5rem; }
a { color: var(--accent); }
.soft, figcaption, .note { color: var(--soft); font-size: .9rem; }
.note, figcaption { max-width: 60rem; }
nav { background: var(--raised); border-radius: .5rem; margin: 1.5rem 0; padding: .75rem 1.25rem; }
nav ul { margin: 0; padding-left: 1.2rem; }
nav > ul { list-style: none; padding: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left;
  vertical-align: top; }
tbody tr:hover { background: var(--raised); }
td.number { text-align: right; white-space: nowrap; }
td.nowrap { white-space: nowrap; }
th { background: var(--raised); padding: 0; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button, th span { display: block; font-weight: 600; padding: .3rem .7rem; }
th span { white-space: normal; }
tbody th { background: none; }
th.number { text-align: right; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
th button::after { content: " \\2195"; color: var(--soft); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.filter { display: flex; gap: .75rem; align-items: center; margin: .5rem 0; }
input { background: var(--paper); border: 1px solid var(--soft); border-radius: .3rem;
  color: inherit; font: inherit; font-size: .9rem; padding: .2rem .5rem; width: 16rem; }
.badge { border: 1.5px solid currentColor; border-radius: 1rem; font-size: .8rem; font-weight: 600;
  padding: .05rem .6rem; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.none { color: var(--soft); }
ul.claims { list-style: none; padding: 0; }
ul.claims li { border-left: 3px solid var(--line); margin: .75rem 0; padding-left: .75rem; }
ul.claims p { margin: .2rem 0 0; max-width: 60rem; }
code { background: var(--raised); border-radius: .3rem; display: block; font-size: .85rem;
  margin: .3rem 0; overflow-wrap: anywhere; padding: .3rem .6rem; user-select: all; }
.problems { border: 1.5px solid var(--bad); border-radius: .5rem; padding: 0 1.25rem .75rem; }
.problems h2 { border: 0; margin-top: 1rem; }
figure { margin: 1rem 0 2.5rem; }
figure img { background: #fff; border: 1px solid var(--line); display: block; height: auto;
  max-width: min(100%, 68rem); padding: .5rem; }
figcaption { margin-top: .4rem; }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --raised: #fff; --accent: #000;
    --good: #000; --bad: #000; --open: #000; color-scheme: light; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav, .filter { display: none; }
  th button::after { content: "" !important; }
  .wide { overflow: visible; } table { font-size: 8pt; }
  thead { display: table-header-group; }
  tr, figure, ul.claims li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""

SCRIPT = """
"use strict";
const leading = /^[\\[<\\s]*([+-]?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)(?!\\d*:)/i;
const text = (row, column) => row.cells[column].textContent.trim();
const empty = (value) => value === "" || value === "-";
const number = (value) => Number(value.match(leading)[1]);
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.firstChild.addEventListener("click", () => {
    const down = header.getAttribute("aria-sort") === "ascending";
    headers.forEach((each) => each.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows];
    const texts = rows.map((row) => text(row, column));
    const numeric = texts.every((value) => empty(value) || leading.test(value));
    rows.sort((a, b) => {
      const [left, right] = [text(a, column), text(b, column)];
      if (empty(left) || empty(right)) return empty(left) - empty(right);
      const order = numeric ? number(left) - number(right)
        : left.localeCompare(right, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows);
  }));
}
for (const input of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const count = input.closest(".filter").querySelector("output");
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" "));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].toLowerCase().includes(word));
    });
    count.value = words.length
      ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
}
"""

NUMBER = ' class="number"'
BADGES = {"holds": "good", "contradicted": "bad", "undecided": "open", "no data": "none"}


def write_html(path: Path, report: Report) -> None:
    """Write the report to one file: pictures inside it, tables that sort and filter.

    Everything that comes from cells is escaped; a policy in the file forbids all scripts but its
    own, and all requests.
    """
    sections = [
        ("problems", "Problems", _problems(report.problems)),
        ("claims", "The paper's claims", "".join(_claims(report.claims))),
        ("tables", "Tables", "".join(_table(table, level=3) for table in report.tables)),
        ("figures", "Figures", "".join(_figures(report.figures))),
        ("unfinished", "Cells that are not finished", _unfinished(report.gathered.cells)),
        ("tests", "Tests behind the verdicts", _tests(report.claims)),
    ]
    sections = [section for section in sections if section[2]]
    contents = "".join(
        f'<li><a href="#{name}">{title}</a>{_subsections(report, name)}</li>'
        for name, title, _ in sections
    )
    body = "".join(
        f'<section id="{name}"{_class_of(name)}><h2>{title}</h2>{content}</section>\n'
        for name, title, content in sections
    )
    html = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>sslbench: {escape(str(report.outputs))}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<header><h1>Supervised, self-supervised, semi-supervised</h1>\n"
        f'<p class="soft">{_summary(report)}</p></header>\n'
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n<main>\n{body}</main>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
    # A folder's name need not be UTF-8.
    contents = html.encode(errors="backslashreplace")
    replace_file(path, lambda file: file.write(contents))


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def _class_of(section: str) -> str:
    return ' class="problems"' if section == "problems" else ""


def _summary(report: Report) -> str:
    counts = Counter(cell.status for cell in report.gathered.cells)
    states = ", ".join(f"{n} {escape(state)}" for state, n in sorted(counts.items())) or "no cells"
    return f"{escape(str(report.outputs))}: {states}. Generated {escape(report.generated)} (UTC)."


def _subsections(report: Report, section: str) -> str:
    items: list[tuple[str, str]] = {
        "claims": [(name, f"On {group}") for group, name in _claim_groups(report.claims).items()],
        "tables": [(_table_id(table), table.title) for table in report.tables],
        "figures": [(f"figure-{figure.name}", figure.title) for figure in report.figures],
    }.get(section, [])
    links = "".join(
        f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title in items
    )
    return f"<ul>{links}</ul>" if links else ""


def _problems(problems: list[str]) -> str:
    return _listing([f"<li>{escape(problem)}</li>" for problem in problems], "ul", "problems")


def _listing(items: list[str], tag: str, what: str) -> str:
    """Show the first few of a list, and fold the rest."""
    shown, folded = items[:ALWAYS_SHOWN], items[ALWAYS_SHOWN:]
    text = f"<{tag}>{''.join(shown)}</{tag}>" if shown else ""
    if folded:
        text += f"<details><summary>{len(folded)} more {what}</summary>"
        text += f"<{tag}>{''.join(folded)}</{tag}></details>"
    return text


def _claims(claims: list[ClaimResult]) -> Iterator[str]:
    groups = _claim_groups(claims)
    verdicts = {(claim.number, claim.group): _badge(claim.verdict) for claim in claims}
    header = "".join(f'<th scope="col"><span>{escape(group)}</span></th>' for group in groups)
    yield f'<div class="wide"><table><thead><tr><th><span>claim</span></th>{header}</tr></thead>'
    yield "<tbody>"
    for number, claim in {claim.number: claim.claim for claim in claims}.items():
        cells = "".join(f"<td>{verdicts.get((number, group), '')}</td>" for group in groups)
        yield f'<tr><th scope="row"><span>{number}. {escape(claim)}</span></th>{cells}</tr>\n'
    yield "</tbody></table></div>"
    for group, name in groups.items():
        yield f'<h3 id="{name}">On {escape(group)}</h3><ul class="claims">'
        for claim in claims:
            if claim.group == group:
                yield (
                    f"<li><strong>{claim.number}. {escape(claim.claim)}</strong> "
                    f"{_badge(claim.verdict)}<p>{escape(claim.sentence)}</p></li>\n"
                )
        yield "</ul>"


def _claim_groups(claims: list[ClaimResult]) -> dict[str, str]:
    """Return the groups that claims are put to, with the anchor of each."""
    groups = dict.fromkeys(claim.group for claim in claims)
    return {group: f"claims-{number}" for number, group in enumerate(groups)}


def _badge(verdict: str) -> str:
    return f'<span class="badge {BADGES.get(verdict, "none")}">{escape(verdict)}</span>'


def _tests(claims: list[ClaimResult]) -> str:
    tests = [table for table in claim_tables(claims) if table.name == "claims-tests"]
    return "".join(_table(table, level=0) for table in tests if len(table.frame))


def _table_id(table: Table) -> str:
    return f"table-{table.name}"


def _table(table: Table, *, level: int) -> str:
    heading = f"<h{level}>{escape(table.title)}</h{level}>" if level else ""
    commands = _listing(
        [f"<code>{escape(command)}</code>" for command in table.commands], "div", "commands"
    )
    if commands:
        commands = f"<p>To fill the gaps (a click selects a command):</p>{commands}"
    return (
        f'<article id="{escape(_table_id(table))}">{heading}'
        f"{_rows(_table_id(table), table.title, table.frame)}"
        f'<p class="note">{escape(table.note)}</p>{commands}</article>\n'
    )


def _rows(name: str, title: str, frame: pd.DataFrame) -> str:
    """Write a table's filter, header and rows."""
    name, title = escape(name), escape(title)
    numeric = [_is_numeric(frame[column]) for column in frame.columns]
    header = "".join(
        f'<th scope="col" aria-sort="none"{NUMBER if is_number else ""}>'
        f'<button type="button">{escape(str(column))}</button></th>'
        for column, is_number in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(map(_cell, row, numeric)) + "</tr>\n"
        for row in frame.itertuples(index=False)
    )
    return (
        f'<div class="filter"><label>Filter <input type="search" data-table="{name}-rows" '
        f'aria-label="Filter {title}" placeholder="words, such as resnet18 test"></label>'
        '<output class="soft" aria-live="polite"></output></div>'
        f'<div class="wide"><table class="sortable" id="{name}-rows" aria-label="{title}">'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
    )


def _is_numeric(values: pd.Series) -> bool:
    """Whether a column is to be set flush right: figures, with what goes beside them."""
    texts = [text for value in values if (text := str(value)) not in ("", "-")]
    return bool(texts) and all(
        text.lstrip("[<+- ")[:1].isdigit() and ":" not in text for text in texts
    )


def _cell(value: object, is_number: bool) -> str:
    text = str(value)
    kind = NUMBER if is_number else ' class="nowrap"' if len(text) < 40 else ""
    return f"<td{kind}>{escape(text)}</td>"


def _figures(figures: list[Figure]) -> Iterator[str]:
    """Embed pictures until the file would be too large; the rest are named."""
    room = MAX_IMAGE_BYTES
    for figure in figures:
        data = base64.b64encode(figure.path.read_bytes()).decode()
        room -= len(data)
        title = escape(figure.title)
        image = (
            f'<img src="data:image/png;base64,{data}" alt="{title}">'
            if room >= 0
            else f"<p>Left out to keep this file small: {escape(str(figure.path))}</p>"
        )
        yield (
            f'<h3 id="figure-{escape(figure.name)}">{title}</h3><figure>{image}'
            f"<figcaption>{escape(figure.caption)}</figcaption></figure>\n"
        )


def _unfinished(cells: Iterable[Cell]) -> str:
    rows = [
        {"cell": cell.cell_id, "state": cell.status, "error": _error(cell)}
        for cell in cells
        if cell.status != DONE
    ]
    return _rows("unfinished", "Cells that are not finished", pd.DataFrame(rows)) if rows else ""


def _error(cell: Cell) -> str:
    if cell.record is None or not cell.record.error:
        return ""
    error = cell.record.error
    return f"{error.get('type', '')}: {error.get('message', '')}"[:ERROR_LENGTH]
