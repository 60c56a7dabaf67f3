"""What became of a cell: against an undisturbed one, bit for bit, and what was said of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import sslbench
from sslbench.cell import checkpoint
from sslbench.cell.folder import cells_folder
from sslbench.tables.assemble import build_report

UNREADABLE = "unreadable"
CHECKSUMS = "checksum|digest|crc|files"
LOOKED_AT = r"(best|last)\.pt|(record|settings)\.json|.*\.(jsonl|npz)"
"""Files whose contents make a cell; what else is there serves them."""
OF_CELL = ("cell", "status", "settings", "changes", "streams", "data", "results", "error")
"""Parts of a record that are of what the cell is, not of how it came about."""


@dataclass
class Sight:
    """A cell as the report, `load_encoder` and its files show it."""

    contents: dict[str, Any] = field(default_factory=dict)
    """By file what it means; `unreadable` where it cannot be read."""
    status: str | None = None
    """Of a record that can be read."""
    record: Any = None
    """All of the record, as a JSON object."""
    report: str = ""
    load: str = ""
    """Digest of the encoder, or what was said instead."""
    crashes: list[str] = field(default_factory=list)
    """Errors of the report and of `load_encoder` that are not for users."""


def look(outputs: Path, cell_id: str, parent_id: str | None = None) -> Sight:
    """Look at a cell, and at the files of its parent; their folders may be damaged or gone."""
    sight = Sight()
    folder = cells_folder(outputs) / cell_id
    for prefix, cell in (("", cell_id), ("parent's ", parent_id)):
        for path in sorted((cells_folder(outputs) / cell).glob("*")) if cell else ():
            if re.fullmatch(LOOKED_AT, path.name):
                sight.contents[prefix + path.name] = _read(path)
    record = sight.contents.get("record.json", _read(folder / "record.json"))
    sight.status = record.get("status") if isinstance(record, dict) else None
    sight.record = record
    try:
        report = build_report(outputs)
        notes = [table.note for table in report.tables] + list(getattr(report, "notes", []))
        sight.report = "\n".join(map(str, [*report.problems, *notes]))
    except Exception as error:
        sight.crashes.append(f"report: {type(error).__name__}: {error}")
    try:
        sight.load = f"digest {checkpoint.digest(sslbench.load_encoder(cell_id, outputs).encoder)}"
    except ValueError as error:
        sight.load = f"refused: {error}"
    except Exception as error:
        sight.crashes.append(f"load_encoder: {type(error).__name__}: {error}")
    return sight


def differences(found: Sight, expected: Sight) -> list[str]:
    """Return the files whose contents are not the undisturbed cell's, and those unreadable."""
    different = []
    for name, contents in expected.contents.items():
        mine = found.contents.get(name, "missing")
        if isinstance(mine, str):
            different.append(f"{name} {mine}")
        elif (place := _difference(mine, contents)) is not None:
            different.append(f"{name}{place}")
    return different + ["load_encoder"] * (found.load != expected.load)


def new_notes(record: Any, known: Any, path: str = "") -> list[str]:
    """Return what a record says in places where another one says nothing, as `place: text`."""
    if isinstance(record, dict | list):
        pairs = record.items() if isinstance(record, dict) else enumerate(record)
        inner = dict(known.items() if isinstance(known, dict) else enumerate(known or []))
        found = [new_notes(each, inner.get(key), f"{path}.{key}") for key, each in pairs]
        return [note for notes in found for note in notes]
    said_nothing = known is None or known is False or known == ""
    return [f"{path}: {record}"] if said_nothing and record != known else []


def without_tracebacks(text: str) -> str:
    """Leave the frames of tracebacks out; what they end with stays."""
    return re.sub(r"Traceback \(most recent call last\):\n([ \t].*\n)*", "", text)


def new_lines(text: str, known: str) -> str:
    """Return the lines of `text` that an undisturbed run does not say, whatever the numbers."""
    usual = {_plain(line) for line in known.splitlines()}
    return "\n".join(line for line in text.splitlines() if _plain(line) not in usual)


def _plain(line: str) -> str:
    return re.sub(r"\d+([.,:-]\d+)*", "0", line).strip()


def _read(path: Path) -> Any:
    try:
        return READERS[path.suffix](path)
    except FileNotFoundError:
        return "missing"
    except Exception:
        return UNREADABLE


def _read_json(path: Path) -> Any:
    contents = json.loads(path.read_text())
    if path.name != "record.json":
        return contents
    return {name: value for name, value in contents.items() if name in OF_CELL}


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def _read_weights(path: Path) -> dict[str, Any]:
    state = checkpoint.load(path)
    where = {name: state.get(name) for name in ("cell", "step")}
    return where | {name: value.numpy() for name, value in state["method"].items()}


def _read_curves(path: Path) -> list[dict[str, Any]]:
    points = [json.loads(line) for line in path.read_text().splitlines()]
    return [point | {"seconds": None} for point in points]  # what they took is never the same


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _read_json,
    ".jsonl": _read_curves,
    ".npz": _read_arrays,
    ".pt": _read_weights,
}


def _difference(mine: Any, other: Any, path: str = "") -> str | None:
    """Return the first place where two contents are not the same bit for bit.

    What only the first one has is no difference, nor are checksums of whole files.
    """
    if isinstance(other, dict) and isinstance(mine, dict):
        for key in other:
            if not re.search(CHECKSUMS, str(key)):
                found = _difference(mine.get(key), other[key], f"{path}.{key}")
                if found is not None:
                    return found
        return None
    if isinstance(other, list) and isinstance(mine, list) and len(mine) == len(other):
        pairs = enumerate(zip(mine, other, strict=True))
        found = [_difference(*pair, f"{path}.{number}") for number, pair in pairs]
        return next((each for each in found if each is not None), None)
    if isinstance(other, np.ndarray) and isinstance(mine, np.ndarray):
        same = mine.dtype == other.dtype and mine.shape == other.shape
        return None if same and mine.tobytes() == other.tobytes() else path
    return None if type(mine) is type(other) and mine == other else path
