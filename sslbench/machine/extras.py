"""Packages that only some of the program's parts need."""

from importlib.util import find_spec


def require_extra(asked: str, package: str, extra: str) -> None:
    """Refuse what needs a package that is not installed.

    Args:
        asked: What the user typed that needs it.
        extra: The extra of this package that brings it.

    Raises:
        ValueError: If it is not there, with the command that installs it.
    """
    if find_spec(package) is None:
        raise ValueError(
            f"{asked}: needs {package}, which is not installed; pip install 'sslbench[{extra}]'"
        ) from ModuleNotFoundError(package)
