"""Messages at the width of a screen."""

import re

WIDTH = 100
LONGEST_VALUE = 200
SHOWN = 20
"""Characters of either end of a value that is too long."""
LONGEST_LINE = 2000
_VALUE = re.compile(rf"\S{{{LONGEST_VALUE + 1},}}")
_QUOTED = re.compile(rf"(?<!\w)(['\"])(?:(?!\1).){{{LONGEST_VALUE + 1},}}\1")


def shorten(text: str) -> str:
    """Shorten each value, in quotes or without a space, that is longer than 200 characters."""
    for pattern in (_QUOTED, _VALUE):
        text = pattern.sub(lambda found: _middle_out(found[0]), text)
    return "\n".join(
        line if len(line) <= LONGEST_LINE else _middle_out(line) for line in text.splitlines()
    )


def _middle_out(value: str) -> str:
    return f"{value[:SHOWN]}…{value[-SHOWN:]} ({len(value):,} characters)"


def fold(text: str) -> str:
    """Break lines that are wider than a screen where a hint begins: after a semicolon."""
    return "\n".join(part for line in text.splitlines() for part in _fold_line(line))


def _fold_line(line: str) -> list[str]:
    first, *others = line.split("; ")
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    parts = [first]
    for clause in others:
        if len(parts[-1]) + len(clause) + 3 <= WIDTH:
            parts[-1] += f"; {clause}"
        else:
            parts[-1] += ";"
            parts.append(f"{indent}{clause}")
    return parts
