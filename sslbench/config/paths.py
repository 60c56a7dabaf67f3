"""`~` and `$NAME` in settings that name files."""

import os
import re

_VARIABLE = re.compile(r"\$([A-Za-z_]\w*|\{[^}]*\})", re.ASCII)


def expand(name: str, path: str) -> str:
    """Return a path with the home folder and the variables that it names.

    What no variable can be called, as in `prices in $5`, stays; so does what is there by that name.

    Raises:
        ValueError: If it is empty, or there is no such user or variable.
    """
    if not path.strip():
        raise ValueError(f"{name}={path}: must not be empty; write . for the current folder")
    found = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111  keeps `.` and addresses
    unknown = [it for it in _VARIABLE.findall(path) if it.strip("{}") not in os.environ]
    if unknown and not os.path.lexists(found):
        raise ValueError(
            f"{name}={path}: there is no variable ${unknown[0]}, nor a file of that name; set it"
        )
    if found.startswith("~"):
        user = found.partition("/")[0]
        raise ValueError(f"{name}={path}: there is no user {user[1:]}; write ./{path} for a folder")
    if "\0" in found:
        raise ValueError(f"{name}={path!r}: a path has no null characters")
    return found
