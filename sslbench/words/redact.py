"""Passwords in addresses: never stored, never printed."""

import re

SECRET = "***"
_USER = re.compile(r"([a-z][a-z0-9+.-]*://)\S*@", re.IGNORECASE)
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?]*\?)[^\s'\",;)\]]+", re.IGNORECASE)


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
