"""Tables as Markdown and CSV."""

from pathlib import Path
from typing import Any

import pandas as pd

from sslbench.tables.contents import Table
from sslbench.tables.latex import to_latex
from sslbench.tables.shapes import alignment
from sslbench.words.escape import markdown, markdown_cell, without_formula

AS_SHOWN = {"index": False, "disable_numparse": True}


def to_markdown(table: Table) -> str:
    """Write a table in Markdown's pipe syntax."""
    cells = table.frame.astype(str).map(markdown_cell).rename(columns=markdown_cell)
    rows = cells.to_markdown(tablefmt="pipe", colalign=alignment(table.frame), **AS_SHOWN)
    parts = [f"## {markdown(table.title)}", rows, table.note]
    return "\n\n".join(parts) + "\n"


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
