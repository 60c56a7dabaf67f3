"""Tables and verdicts as text, CSV, Markdown and LaTeX."""

import textwrap
from pathlib import Path

import pandas as pd

from sslbench.tables.claims import ClaimResult
from sslbench.tables.contents import Table

INDENT = " " * 14
NARROW = 24
"""Characters that a column of a LaTeX table may have in one line; wider ones are wrapped."""
PORTRAIT, LANDSCAPE, GAP = 90, 130, 3
"""Characters in a line of a page in LaTeX's \\small, and between two columns."""
MIN_SHARE = 0.3
"""Of the line, for all wrapped columns together."""
LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
    }
)


def to_text(table: Table) -> str:
    """Lay a table out for a terminal, with the commands that fill its gaps."""
    lines = [table.title, "", _to_tabulated(table.frame, "simple")]
    if table.commands:
        lines += ["", "to fill the gaps:", *(f"  {command}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    cells = _as_strings(table.frame).map(lambda text: text.replace("|", r"\|"))
    lines = [f"## {table.title}", "", _to_tabulated(cells, "pipe"), "", table.note]
    if table.commands:
        lines += ["", "To fill the gaps:", "", "```", *table.commands, "```"]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Write a table for LaTeX; it needs booktabs, and if wide, longtable and pdflscape.

    Wide tables lie on pages of their own, as many as they take, turned to landscape.
    """
    cells = _as_strings(table.frame)
    widths = [max(len(name), *cells[name].str.len()) for name in cells]
    narrow = sum(width + GAP for width in widths if width <= NARROW)
    wrapped = [min(width, PORTRAIT) if width > NARROW else 0 for width in widths]
    is_wide = narrow + sum(wrapped) > PORTRAIT
    # Wrapped columns take what the others leave of the line.
    room = max(MIN_SHARE, 1 - narrow / LANDSCAPE) / (sum(wrapped) or 1)
    columns = [rf"p{{{room * width:.2f}\linewidth}}" if width else "l" for width in wrapped]
    escaped = cells.rename(columns=_latex).map(_latex)
    latex = escaped.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="".join(columns),
        caption=_latex(f"{table.title}. {table.note}"),
        label=f"tab:{table.name}",
        environment="longtable" if is_wide else "table",
        position_float=None if is_wide else "centering",
    )
    return f"\\begin{{landscape}}\\small\n{latex}\\end{{landscape}}\n" if is_wide else latex


def _latex(text: str) -> str:
    return text.translate(LATEX)


def _as_strings(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=str).map(str)


def _to_tabulated(frame: pd.DataFrame, style: str) -> str:
    # Numbers stand as they were rounded for showing.
    return frame.to_markdown(index=False, tablefmt=style, disable_numparse=True)


def write_table(table: Table, folder: Path) -> None:
    """Write `<name>.csv` with unrounded numbers (accuracies as fractions), `.md` and `.tex`."""
    path, lenient = folder / table.name, {"errors": "backslashreplace"}  # names need not be UTF-8
    table.values.to_csv(f"{path}.csv", index=False, **lenient)
    Path(f"{path}.md").write_text(to_markdown(table), **lenient)
    Path(f"{path}.tex").write_text(to_latex(table), **lenient)


def verdicts_to_text(claims: list[ClaimResult]) -> str:
    """List verdicts and the sentences behind them, by group."""
    lines: list[str] = []
    for group in dict.fromkeys(claim.group for claim in claims):
        lines += [f"The paper's claims on: {group}", ""]
        for claim in claims:
            if claim.group == group:
                lines += [f"{claim.verdict:12}  {claim.number}. {claim.claim}"]
                lines += textwrap.wrap(
                    claim.sentence, 100, initial_indent=INDENT, subsequent_indent=INDENT
                )
        lines.append("")
    return "\n".join(lines)
