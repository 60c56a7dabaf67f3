"""Tables and verdicts as text, CSV, Markdown and LaTeX."""

import textwrap
from pathlib import Path

import pandas as pd

from sslbench.tables.claims import ClaimResult
from sslbench.tables.contents import Table

SENTENCE_INDENT = {"initial_indent": " " * 14, "subsequent_indent": " " * 14}
NARROW = 24
"""Characters that a column of a LaTeX table may have in one line; wider ones are wrapped."""
LINE, MARGIN = 130, 3
"""Characters in a line of a landscape page in LaTeX's \\small, and between two columns."""
LONGEST = 90
"""Longer cells get no wider a column."""
MIN_SHARE = 0.3
"""Of the line, for all wrapped columns together."""
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "\u2014": "---",
}


def to_text(table: Table) -> str:
    """Lay a table out for a terminal, with the commands that fill its gaps."""
    lines = [table.title, ""]
    widths, rows = _columns(table.frame)
    rows.insert(1, ["-" * width for width in widths])
    lines += [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if table.commands:
        lines += ["", "to fill the gaps:", *(f"  {command}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    header, *body = _cells(table.frame)
    rows = [header, ["---"] * len(header), *body]
    lines = [f"## {table.title}", ""]
    lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    lines += ["", table.note]
    if table.commands:
        lines += ["", "To fill the gaps:", "", "```", *table.commands, "```"]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Write a table as a LaTeX float; it needs the package booktabs."""
    cells = _cells(table.frame)
    columns = _latex_columns([max(map(len, column)) for column in zip(*cells, strict=True)])
    header, *body = [[_latex(cell) for cell in row] for row in cells]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}. {_latex(table.note)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_columns(widths: list[int]) -> str:
    """Choose LaTeX's columns: as wide as their text, or wrapped in what these leave of the line."""
    narrow = sum(width + MARGIN for width in widths if width <= NARROW)
    wrapped = [min(width, LONGEST) for width in widths if width > NARROW]
    share = max(MIN_SHARE, 1 - (narrow + MARGIN * len(wrapped)) / LINE)
    return "".join(
        rf"p{{{share * min(width, LONGEST) / sum(wrapped):.2f}\linewidth}}"
        if width > NARROW
        else "l"
        for width in widths
    )


def write_table(table: Table, folder: Path) -> None:
    """Write `<name>.csv` with unrounded figures (accuracies as fractions), `.md` and `.tex`."""
    table.values.to_csv(folder / f"{table.name}.csv", index=False)
    (folder / f"{table.name}.md").write_text(to_markdown(table))
    (folder / f"{table.name}.tex").write_text(to_latex(table))


def verdicts_to_text(claims: list[ClaimResult]) -> str:
    """List verdicts and the sentences behind them, by group."""
    lines: list[str] = []
    for group in dict.fromkeys(claim.group for claim in claims):
        lines += [f"The paper's claims on: {group}", ""]
        for claim in claims:
            if claim.group == group:
                lines += [f"{claim.verdict:12}  {claim.number}. {claim.claim}"]
                lines += textwrap.wrap(claim.sentence, 100, **SENTENCE_INDENT)
        lines.append("")
    return "\n".join(lines)


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    """Return header and rows as strings."""
    return [
        [str(name) for name in frame.columns],
        *([str(value) for value in row] for row in frame.itertuples(index=False)),
    ]


def _columns(frame: pd.DataFrame) -> tuple[list[int], list[list[str]]]:
    rows = _cells(frame)
    return [max(len(cell) for cell in column) for column in zip(*rows, strict=True)], rows


def _latex(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)
