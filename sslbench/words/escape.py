"""Names that others chose, made harmless for what shows them: terminals, Markdown, spreadsheets."""

import re

_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$&])")
_NUMBERS = re.compile(r"[-+±\d.,%*\[\] ]*")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def has_invisible(text: str) -> bool:
    """Whether a text holds control characters, or some that turn it around."""
    return _INVISIBLE.search(text) is not None


def printable(text: str) -> str:
    """Write such characters, and lone surrogates, as escapes; lines stay lines."""
    return _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], text)


def visible(text: str) -> str:
    """Return a name in one line, as its escapes where nothing of it could be seen.

    >>> visible("\\u200b")
    '\\\\u200b'
    """
    seen = any(character.isprintable() and not character.isspace() for character in text)
    return " ".join(printable(text).split()) if seen else ascii(text)[1:-1]


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line.

    >>> markdown("_a_ <b>")
    '\\\\_a\\\\_ \\\\<b\\\\>'
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))


def markdown_code(text: str) -> str:
    """Return a text as code in Markdown's line, whichever backticks it holds."""
    text = " ".join(printable(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def markdown_cell(text: str) -> str:
    """Return a table's cell: numbers with their intervals stay as they are."""
    return text if _NUMBERS.fullmatch(text) else markdown(text)


def without_formula(text: str) -> str:
    """Return a cell of a CSV file that no spreadsheet takes for a formula; numbers stay numbers.

    >>> without_formula("=1+1"), without_formula("-0.5")
    ("'=1+1", '-0.5')
    """
    text = printable(text)
    if not text.startswith(_FORMULA) or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
