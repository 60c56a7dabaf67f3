"""Tables and verdicts as text, CSV, Markdown and LaTeX."""

import textwrap
from itertools import groupby
from pathlib import Path

from sslbench.tables.claims import Claim
from sslbench.tables.contents import Table

INDENT = " " * 14
AS_ROUNDED = {"index": False, "disable_numparse": True}
LATEX = {"<": "$<$", ">": "$>$", "±": r"$\pm$"}
"""What pandas does not escape."""


def to_text(table: Table) -> str:
    """Lay a table out for a terminal, with the commands that fill its gaps."""
    lines = [table.title, "", table.frame.to_markdown(tablefmt="simple", **AS_ROUNDED)]
    if table.commands:
        lines += ["", "to fill the gaps:", *(f"  {command}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    cells = table.frame.astype(str).map(lambda text: text.replace("|", r"\|"))
    rows = cells.to_markdown(tablefmt="pipe", **AS_ROUNDED)
    parts = [f"## {table.title}", rows, table.note]
    if table.commands:
        parts += ["To fill the gaps:", "\n".join(["```", *table.commands, "```"])]
    return "\n\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    """Write the lines of a table for LaTeX; it needs booktabs."""
    latex = table.frame.astype(str).to_latex(index=False, escape=True)
    return latex.translate(str.maketrans(LATEX))


def write_table(table: Table, folder: Path) -> None:
    """Write `<name>.csv` with unrounded numbers (accuracies as fractions), `.md` and `.tex`."""
    path, lenient = folder / table.name, {"errors": "backslashreplace"}  # names need not be UTF-8
    table.values.to_csv(f"{path}.csv", index=False, **lenient)
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
