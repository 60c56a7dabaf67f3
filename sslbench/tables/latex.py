"""Tables for LaTeX: a `longtable` with one caption, no wider than the page of an article."""

import re
from textwrap import wrap

from sslbench.tables.contents import Table
from sslbench.tables.shapes import SEPARATOR, alignment
from sslbench.words.escape import visible

LINE = 345
"""Points in a line of an article."""
SIZES = {r"\scriptsize": 4.0, r"\tiny": 3.45}
"""Points that a digit takes, by the size of the type; a letter takes that or less."""
GAP = 5
"""Points between two columns."""
LONGEST = 14
"""Letters of a word that stay together."""
MAY_BREAK = "\u200b"
ESCAPES = {
    **{character: f"\\{character}" for character in "#$%&_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "±": r"$\pm$", "[": "{[}", "]": "{]}", "*": "{*}"},
    MAY_BREAK: r"\allowbreak{}",
}


def to_latex(table: Table) -> str:
    """Write a table for LaTeX; it needs array, booktabs and longtable.

    Numbers are aligned on the right, above their intervals; texts too long for the page are broken.
    """
    sides = alignment(table.frame)
    names = [_head(visible(str(name)), side) for name, side in zip(table.frame, sides, strict=True)]
    rows = [
        [_lines(text, side) for text, side in zip(row, sides, strict=True)]
        for row in table.frame.astype(str).map(visible).itertuples(index=False)
    ]
    size, widths = _fit([names, *rows], sides)
    columns = "".join(map(_column, sides, widths))
    head = " & ".join(_stacked([_escaped(line) for line in name], "b") for name in names)
    body = [" & ".join(map(_number, row, sides)) + r" \\[1pt]" for row in rows]
    lines = [
        rf"{{{size}\setlength\tabcolsep{{{GAP / 2}pt}}\setlength\LTcapwidth{{\linewidth}}",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{_escaped(visible(table.title))}. {_escaped(table.note)}}}\\",
        rf"\toprule {head} \\ \midrule \endfirsthead",
        rf"\toprule {head} \\ \midrule \endhead",
        r"\bottomrule \endlastfoot",
    ]
    return "\n".join([*lines, *body, r"\end{longtable}}", ""])


def _column(side: str, width: float | None) -> str:
    if width is None:
        return side[0]
    return rf">{{\raggedright\arraybackslash}}p{{{width:.1f}pt}}"


def _head(name: str, side: str) -> list[str]:
    """Set what a column is of above whose it is, in short lines over numbers."""
    lines = name.replace(" (", SEPARATOR + "(").split(SEPARATOR)
    if side == "left":  # a stack of lines is as wide as its longest, which is not broken
        return lines if len(lines) == 1 else " ".join(lines).split()
    return [part for line in lines for part in wrap(line, 10)]


def _lines(text: str, side: str) -> list[str]:
    """Set an interval below its number."""
    return text.replace(" [", "\n[").split("\n") if side == "right" else [text]


def _number(lines: list[str], side: str) -> str:
    return _stacked([_escaped(line, is_number=side == "right") for line in lines], "t")


def _stacked(lines: list[str], place: str) -> str:
    """Set lines above each other, the first or the last in line with the row."""
    if len(lines) == 1:
        return lines[0]
    stack = r"\\".join(lines)
    return rf"\begin{{tabular}}[{place}]{{@{{}}r@{{}}}}{stack}\end{{tabular}}"


def _fit(rows: list[list[list[str]]], sides: list[str]) -> tuple[str, list[float | None]]:
    """Return the size of the type, and how wide a column of broken lines is in points."""
    columns = [[line for cell in column for line in cell] for column in zip(*rows, strict=True)]
    letters = [max(map(_letters, column)) for column in columns]
    words = [max(_letters(word) for line in column for word in _words(line)) for column in columns]
    least = [n if side == "left" else m for side, n, m in zip(sides, words, letters, strict=True)]
    room = LINE - GAP * (len(sides) - 1)
    size = next((name for name, points in SIZES.items() if points * sum(least) <= room), r"\tiny")
    points = SIZES[size]
    if points * sum(letters) <= room:
        return size, [None] * len(sides)
    # What is left is shared by length, and long sentences do not starve the names beside them.
    weights = [(n - m) ** 0.7 for n, m in zip(letters, least, strict=True)]
    spare = max(0, room / points - sum(least)) / (sum(weights) or 1)
    shares = [min(n, m + spare * w) for n, m, w in zip(letters, least, weights, strict=True)]
    return size, [points * n if n < m else None for n, m in zip(shares, letters, strict=True)]


def _letters(text: str) -> float:
    """Return how wide a text is in digits."""
    return sum(1.5 if it.isupper() else 1.05 if it.isalnum() else 0.7 for it in text)


def _words(line: str) -> list[str]:
    """Return what is not broken of a line."""
    return re.split(f"[ {MAY_BREAK}]|(?<=-)", _breakable(line))


def _breakable(text: str) -> str:
    return re.sub(rf"(?<=\w)([/=,_])(?=\w)|(\w{{{LONGEST}}})(?=\w)", rf"\g<0>{MAY_BREAK}", text)


def _escaped(text: str, *, is_number: bool = False) -> str:
    """Return a text as LaTeX prints it; a number's hyphen is a minus, nothing a dash."""
    if is_number:
        text = "--" if text == "-" else text
        return re.sub(r"-(?=\d)", "$-$", "".join(ESCAPES.get(it, it) for it in text))
    return "".join(ESCAPES.get(it, it) for it in _breakable(text))
