"""Tables and verdicts as text, CSV, Markdown and LaTeX."""

import re
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from sslbench.tables.claims import Claim
from sslbench.tables.contents import Table
from sslbench.words.escape import markdown, markdown_cell, visible, without_formula

INDENT = " " * 14
AS_ROUNDED = {"index": False, "disable_numparse": True}
LATEX = {"<": "$<$", ">": "$>$", "±": r"$\pm$"}
"""What pandas does not escape."""


def to_text(table: Table) -> str:
    """Lay a table out for a terminal, with the commands that fill its gaps."""
    cells = table.frame.astype(str).map(visible)
    lines = [visible(table.title), "", cells.to_markdown(tablefmt="simple", **AS_ROUNDED)]
    if table.commands:
        lines += ["", "to fill the gaps:", *(f"  {command}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    cells = table.frame.astype(str).map(markdown_cell).rename(columns=markdown_cell)
    rows = cells.to_markdown(tablefmt="pipe", **AS_ROUNDED)
    parts = [f"## {markdown(table.title)}", rows, table.note]
    if table.commands:
        parts += ["To fill the gaps:", "\n".join(["```", *table.commands, "```"])]
    return "\n\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    """Write the lines of a table for LaTeX; it needs booktabs."""
    latex = table.frame.astype(str).map(visible).to_latex(index=False, escape=True)
    # What follows a line's `\\` in brackets would be a distance.
    latex = re.sub(r"^(?=[\[*])", "{}", latex, flags=re.MULTILINE)
    return latex.translate(str.maketrans(LATEX))


def write_csv(frame: pd.DataFrame, path: Path, *, index: bool = True) -> None:
    """Write a frame with unrounded numbers; names that others chose are no formulas."""

    def safe(value: Any) -> Any:
        return without_formula(value) if isinstance(value, str) else value

    frame = frame.map(safe).rename(index=safe, columns=safe)
    frame.to_csv(path, index=index, errors="backslashreplace")  # names need not be UTF-8


def write_table(table: Table, folder: Path) -> None:
    """Write `<name>.csv` with unrounded numbers (accuracies as fractions), `.md` and `.tex`."""
    path, lenient = folder / table.name, {"errors": "backslashreplace"}  # names need not be UTF-8
    write_csv(table.values, Path(f"{path}.csv"), index=False)
    Path(f"{path}.md").write_text(to_markdown(table), **lenient)
    Path(f"{path}.tex").write_text(to_latex(table), **lenient)


def verdicts_to_text(claims: list[Claim]) -> str:
    """List verdicts and the sentences behind them, by group."""
    lines: list[str] = []
    for group, found in groupby(claims, lambda claim: claim.group):
        lines += [f"The paper's claims on: {group}", ""]
        for claim in found:
            lines.append(f"{claim.verdict:12}  {claim.number}. {claim.text}")
            lines.append(textwrap.indent(textwrap.fill(claim.sentence, 86), INDENT))
        lines.append("")
    return "\n".join(lines)
