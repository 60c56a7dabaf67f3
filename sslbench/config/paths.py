"""`~` and `$NAME` in settings that name files."""

import os
import re

_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


def expand(name: str, path: str) -> str:
    """Return a path with the home folder and the variables that it names.

    Raises:
        ValueError: If it is empty, or there is no such user or variable.
    """
    if not path.strip():
        raise ValueError(f"{name}={path}: must not be empty; write . for the current folder")
    if unknown := [it for it in _VARIABLE.findall(path) if it.strip("{}") not in os.environ]:
        raise ValueError(f"{name}={path}: there is no variable ${unknown[0]}; set it")
    found = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111  keeps `.` and addresses
    if found.startswith("~"):
        user = found.partition("/")[0]
        raise ValueError(f"{name}={path}: there is no user {user[1:]}; write ./{path} for a folder")
    if "\0" in found:
        raise ValueError(f"{name}={path!r}: a path has no null characters")
    return found
