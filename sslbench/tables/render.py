"""Tables and verdicts as text, CSV, Markdown and LaTeX."""

import textwrap
from itertools import groupby
from pathlib import Path

import pandas as pd

from sslbench.tables.claims import Claim
from sslbench.tables.contents import Table

INDENT = " " * 14
NARROW = 24
"""Characters that a column of a LaTeX table may have in one line; wider ones are wrapped."""
PORTRAIT, LANDSCAPE, GAP = 90, 130, 3
"""Characters in a line of a page in LaTeX's \\small, and between two columns."""
NAMED = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater"}
LATEX = {mark: rf"\text{name}{{}}" for mark, name in NAMED.items()}
LATEX |= {mark: rf"\{mark}" for mark in "&%$#_{}"} | {"±": r"$\pm$"}


def to_text(table: Table) -> str:
    """Lay a table out for a terminal, with the commands that fill its gaps."""
    lines = [table.title, "", _tabulate(table.frame, "simple")]
    if table.commands:
        lines += ["", "to fill the gaps:", *(f"  {command}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    cells = table.frame.astype(str).map(lambda text: text.replace("|", r"\|"))
    lines = [f"## {table.title}", "", _tabulate(cells, "pipe"), "", table.note]
    if table.commands:
        lines += ["", "To fill the gaps:", "", "```", *table.commands, "```"]
    return "\n".join(lines) + "\n"


def _tabulate(frame: pd.DataFrame, style: str) -> str:
    # Numbers stand as they were rounded for showing.
    return frame.to_markdown(index=False, tablefmt=style, disable_numparse=True)


def to_latex(table: Table) -> str:
    """Write a table for LaTeX; it needs booktabs, and if wide, longtable and pdflscape.

    Wide tables lie on pages of their own, as many as they take, turned to landscape.
    """
    cells = table.frame.astype(str)
    widths = cells.map(len).max().clip(lower=cells.columns.str.len())
    wraps = widths > NARROW
    is_wide = widths.sum() + GAP * len(widths) > PORTRAIT
    # Wrapped columns share what the others leave of the line, or else a third of it.
    room = max(1 / 3, 1 - (widths[~wraps] + GAP).sum() / LANDSCAPE) / max(1, wraps.sum())
    escaped = cells.rename(columns=_escape).map(_escape)
    latex = escaped.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="".join(rf"p{{{room:.2f}\linewidth}}" if wrap else "l" for wrap in wraps),
        caption=_escape(f"{table.title}. {table.note}"),
        label=f"tab:{table.name}",
        environment="longtable" if is_wide else "table",
        position_float=None if is_wide else "centering",
    )
    return f"\\begin{{landscape}}\\small\n{latex}\\end{{landscape}}\n" if is_wide else latex


def _escape(text: str) -> str:
    return text.translate(str.maketrans(LATEX))


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
