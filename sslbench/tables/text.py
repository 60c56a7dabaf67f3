"""Tables as text that a terminal has room for."""

import re
import textwrap
from shutil import get_terminal_size

import pandas as pd
from tabulate import tabulate

from sslbench.tables.contents import Table
from sslbench.tables.shapes import DIFFERENCE, OURS, SEPARATOR, P, alignment
from sslbench.words.escape import visible

WORDS = 22
"""Most letters in a line of a narrow table's text."""
BEFORE_BRACKETS = re.compile(r" (?=[\[(])")
BELOW = {"paper": OURS, P: DIFFERENCE}
"""What stands below what in a narrow table: columns by how the second part of their name begins."""
SAID_ONCE = ("model", "method")
"""Columns that a narrow table has no room for if all lines say the same."""
LEAST = ("train acc: ", "k-NN test acc: ", "state", "val acc: ", "ratio")
"""What a narrow table leaves out, by how its columns' names begin, as far as it must."""


def to_text(table: Table) -> str:
    """Lay a table out for a terminal.

    Where that is too narrow, intervals, p-values and the paper's figures stand below our numbers;
    if that does not do, columns are left out and named.
    """
    width = get_terminal_size().columns
    cells = table.frame.astype(str).map(visible).rename(columns=visible)
    align = dict(zip(cells.columns, alignment(table.frame), strict=True)) | {"n": "right"}
    rows, notes, left_out = _laid_out(cells, align), [], []
    if _width(rows) > width:
        alike = [name for name in SAID_ONCE if name in cells and cells[name].nunique() == 1]
        notes = [f"{name}: {cells[name].iloc[0]}" for name in alike]
        cells = _narrow(cells.drop(columns=alike))
        rows = _laid_out(cells, align)
    for beginning in LEAST:
        names = [name for name in cells if name.startswith(beginning)]
        if _width(rows) > width and names:
            cells, left_out = cells.drop(columns=names), [*left_out, beginning.rstrip(SEPARATOR)]
            rows = _laid_out(cells, align)
    notes += [f"in {table.name}.csv alone: {', '.join(left_out)}"] if left_out else []
    title, note = (textwrap.wrap(text, width) for text in (visible(table.title), "; ".join(notes)))
    return "\n".join([*title, "", rows, *note]) + "\n"


def _laid_out(cells: pd.DataFrame, align: dict[str, str]) -> str:
    heads = [name.replace(SEPARATOR, "\n").replace(" (", "\n(") for name in cells]
    columns = [align[name] for name in cells]
    options = {"tablefmt": "simple", "disable_numparse": True, "colalign": columns}
    return tabulate(cells.values.tolist(), heads, **options)


def _narrow(cells: pd.DataFrame) -> pd.DataFrame:
    """Break cells into lines, and put columns of figures below others."""
    found = cells.map(_broken)
    for name in cells:
        whose, _, what = name.partition(SEPARATOR)
        kind = what.partition(" ")[0]
        if kind in BELOW:
            lower = [f"\n{kind} {text}" * (text not in ("", "-")) for text in cells[name]]
            found[f"{whose}{SEPARATOR}{BELOW[kind]}"] += lower
            found = found.drop(columns=name)
    return found.rename(columns={"seeds": "n"})


def _broken(text: str) -> str:
    """Break a text before brackets, and between words where a line is long."""
    options = {"break_on_hyphens": False, "break_long_words": False}
    lines = BEFORE_BRACKETS.sub("\n", text).splitlines()
    return "\n".join(part for line in lines for part in textwrap.wrap(line, WORDS, **options))


def _width(text: str) -> int:
    return max(map(len, text.splitlines()))
