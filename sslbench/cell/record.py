"""One JSON file per cell: what the report reads. A failure is a record too."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbench.atomic import write_json

RECORD, SETTINGS = "record.json", "settings.json"
DONE, FAILED, INTERRUPTED, BLOCKED = "done", "failed", "interrupted", "blocked"
STATUSES = (DONE, FAILED, INTERRUPTED, BLOCKED)
DATA_TITLES = {"stl10": "STL-10", "digits": "digits, the built-in stand-in"}
Changes = dict[str, Any]
"""Overrides by key: how a cell differs from what the choices of its groups give."""


@dataclass
class Record:
    """Everything about one cell. `results` is a function of the settings; `runtime` is not."""

    cell: str
    status: str
    settings: dict[str, Any]
    changes: Changes = field(default_factory=dict)
    """The overrides that lead to the cell from its model, method, ratio, data and seed."""
    streams: list[str] = field(default_factory=list)
    """Images that its method learns from, `labeled` or `unlabeled`; epochs count the first."""
    data: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    failures: int = 0
    """How often the cell has failed so far."""

    def save(self, folder: Path) -> None:
        write_json(folder / RECORD, dataclasses.asdict(self))


def load_record(folder: Path) -> Record | None:
    """Return a cell's record, or None if it has none.

    Raises:
        ValueError: If the file is not a record.
    """
    path = folder / RECORD
    try:
        record = Record(**json.loads(path.read_text()))
        _require_types(record)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError) as error:  # of JSON and UTF-8 too
        raise ValueError(f"{path}: not a record ({error}); delete it to run the cell") from error
    return record


def _require_types(record: Record) -> None:
    if record.status not in STATUSES:
        raise ValueError(f"status is {record.status!r}, not one of {', '.join(STATUSES)}")
    for name in ("settings", "changes", "data", "results", "runtime", "error"):
        value = getattr(record, name)
        if not isinstance(value, dict) and (name, value) != ("error", None):
            raise ValueError(f"{name} is {value!r}, not an object")


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted keys; that of a group, such as `optimizer`, is its name."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    flat = {prefix: settings["name"]} if "name" in settings else {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else key)
    return flat
