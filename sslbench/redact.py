"""What must not be read by others: passwords in addresses, and what moves a terminal's cursor."""

import re

SECRET = "***"
_USER = re.compile(r"([a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?]*\?)[^\s'\",;)\]]+", re.IGNORECASE)
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def redacted(text: str) -> str:
    """Replace whatever could be a password in the addresses of a text.

    It takes too much rather than too little: all before the last `@`, and all after a `?`.

    >>> redacted("https://me:secret@host/file.gz?token=secret")
    'https://***@host/file.gz?***'
    """
    return _QUERY.sub(rf"\1{SECRET}", _USER.sub(rf"\1{SECRET}@", text))


def is_redacted(url: str) -> bool:
    """Whether an address was stored without its password, so that it cannot be opened."""
    return f"://{SECRET}@" in url or url.endswith(f"?{SECRET}")


def printable(text: str) -> str:
    """Write control characters, and those that turn text around, as escapes; lines stay lines."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def has_invisible(text: str) -> bool:
    """Whether a text holds characters that `printable` would escape."""
    return _INVISIBLE.search(text) is not None
