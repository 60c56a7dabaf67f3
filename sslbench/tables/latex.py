"""Tables for LaTeX: a `longtable` with one caption, no wider than the page of an article."""

import re

from sslbench.tables.contents import Table
from sslbench.tables.shapes import SEPARATOR, alignment
from sslbench.words.escape import visible

SIZES = {r"\scriptsize": 92, r"\tiny": 128}
"""By the size of the type, letters that fit into a line, an article's being 345 pt long."""
GAP = 1.5
"""Width of the gap between two columns, in letters."""
SHORTEST = 8
"""Letters that a column of broken lines has at least."""
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
    names = [visible(str(name)).split(SEPARATOR) for name in table.frame]
    rows = [
        [_lines(text, side) for text, side in zip(row, sides, strict=True)]
        for row in table.frame.astype(str).map(visible).itertuples(index=False)
    ]
    size, widths = _fit([names, *rows], sides)
    columns = "".join(
        "r" if side == "right" else "l" if width is None else f"{_PARAGRAPH}{width / 2:.1f}em}}"
        for side, width in zip(sides, widths, strict=True)
    )
    head = " & ".join(_stacked(name, side) for name, side in zip(names, sides, strict=True))
    return "\n".join(
        [
            rf"{{{size}\setlength\tabcolsep{{2.5pt}}\setlength\LTcapwidth{{\linewidth}}",
            rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
            rf"\caption{{{_escaped(visible(table.title))}. {_escaped(table.note)}}}\\",
            rf"\toprule {head} \\ \midrule \endfirsthead",
            rf"\toprule {head} \\ \midrule \endhead",
            r"\bottomrule \endlastfoot",
            *(
                " & ".join(_stacked(cell, side) for cell, side in zip(row, sides, strict=True))
                + r" \\"
                for row in rows
            ),
            r"\end{longtable}}",
            "",
        ]
    )


_PARAGRAPH = r">{\raggedright\arraybackslash}p{"


def _lines(text: str, side: str) -> list[str]:
    """Set an interval below its number."""
    return text.replace(" [", "\n[").split("\n") if side == "right" else [text]


def _fit(rows: list[list[list[str]]], sides: list[str]) -> tuple[str, list[float | None]]:
    """Return the size of the type, and the width in letters of each column of broken lines."""
    natural = [
        max(len(line) for cell in column for line in cell) for column in zip(*rows, strict=True)
    ]
    is_broken = [
        side == "left" and width > SHORTEST for side, width in zip(sides, natural, strict=True)
    ]
    fixed = sum(w for w, broken in zip(natural, is_broken, strict=True) if not broken)
    fixed += GAP * len(sides)
    needed = fixed + SHORTEST * sum(is_broken)
    size = next((size for size, letters in SIZES.items() if needed <= letters), r"\tiny")
    letters = SIZES[size]
    if sum(natural) + GAP * len(sides) <= letters:
        return size, [None] * len(sides)
    # What is left is shared by length, and long sentences do not starve the names beside them.
    left = letters - fixed - SHORTEST * sum(is_broken)
    weights = [
        (width - SHORTEST) ** 0.7 if b else 0 for width, b in zip(natural, is_broken, strict=True)
    ]
    shares = [left * weight / (sum(weights) or 1) for weight in weights]
    return size, [
        min(width, SHORTEST + max(0, share)) if b else None
        for width, share, b in zip(natural, shares, is_broken, strict=True)
    ]


def _stacked(lines: list[str], side: str) -> str:
    escaped = [_escaped(line, is_number=side == "right") for line in lines]
    if len(lines) == 1:
        return escaped[0]
    stack = r"\\".join(escaped)
    return rf"\shortstack[{side[0]}]{{{stack}}}"


def _escaped(text: str, *, is_number: bool = False) -> str:
    """Return a text as LaTeX prints it; a number's hyphen is a minus, nothing a dash."""
    if is_number:
        text = "--" if text == "-" else text
        return re.sub(r"-(?=\d)", "$-$", "".join(ESCAPES.get(it, it) for it in text))
    broken = re.sub(r"(?<=\w)([/=,_:.])(?=\w)|(\w{14})(?=\w)", rf"\g<0>{MAY_BREAK}", text)
    return "".join(ESCAPES.get(it, it) for it in broken)
