"""Cells as text, JSON and CSV."""

import csv
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from sslbench.cell.listing import KINDS, Listed
from sslbench.words.escape import without_formula

COLUMNS = ("cell", "state", "val", "test", "age", "size", "code")
Row = dict[str, Any]


def table(cells: Sequence[Listed], how: str) -> str:
    """List cells, one a line."""
    rows = [_row(cell) for cell in cells]
    if how != "text":
        return _for_machines(rows, how)
    shown = [
        [
            row["cell"],
            row["state"],
            *("" if row[split] is None else f"{row[split]:.2%}" for split in ("val", "test")),
            _age(row["age_seconds"]),
            size(row["bytes"]),
            "other" if row["other_code"] else "",
        ]
        for row in rows
    ]
    total = f"{len(rows)} cells, {size(sum(row['bytes'] for row in rows))}"
    return f"{_aligned(shown, COLUMNS)}\n{total}" if rows else total


def room(cells: Sequence[Listed], outputs: Path, how: str) -> str:
    """Say what takes the room in cells, and beside them in `outputs`."""
    rows = [
        {"what": kind, "bytes": sum(it.room[kind] for it in cells)} for kind in (*KINDS, "other")
    ]
    beside = sorted(it for it in outputs.glob("*/") if it.name != "cells")
    rows += [{"what": f"{it.name}/", "bytes": _folder_bytes(it)} for it in beside]
    if how != "text":
        return _for_machines(rows, how)
    rows.append({"what": "total", "bytes": sum(row["bytes"] for row in rows)})
    shown = [[row["what"], size(row["bytes"])] for row in rows]
    return _aligned(shown, (f"of {len(cells)} cells", "size"))


def one(cell: Listed, how: str) -> str:
    """Show all that is known of a cell; CSV has its settings and results by key."""
    record = {} if cell.record is None else asdict(cell.record)
    found = _row(cell) | {"folder": str(cell.folder), "room": cell.room}
    found |= {
        "changes": record.get("changes", {}),
        "settings": cell.settings,
        "accuracy": {name: cell.accuracy(name) for name in ("train", "val", "test")},
        "runtime": record.get("runtime", {}),
        "error": record.get("error"),
        "notes": record.get("notes", []),
    }
    if how == "json":
        return json.dumps(found, indent=2)
    lines = [{"key": key, "value": value} for key, value in _flat(found)]
    if how == "csv":
        return _for_machines(lines, how)
    return "\n".join(f"{line['key']:30} {line['value']}" for line in lines)


def size(number: float) -> str:
    """Write bytes as a person would: `12.3 MB`."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= power:
            return f"{number / power:.1f} {unit}"
    return f"{number:.0f} B"


def _row(cell: Listed) -> Row:
    return {
        "cell": cell.id,
        "state": cell.state,
        **{split: cell.accuracy(split) for split in ("val", "test")},
        "age_seconds": round(time.time() - cell.touched),
        "bytes": cell.bytes,
        "other_code": cell.is_of_other_code,
    }


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _aligned(rows: list[list[str]], headers: Sequence[str]) -> str:
    right = ["right" if name in ("val", "test", "age", "size") else "left" for name in headers]
    return tabulate(rows, headers, tablefmt="simple", colalign=right, disable_numparse=True)


def _for_machines(rows: list[Row], how: str) -> str:
    if how == "json":
        return json.dumps(rows, indent=2)
    written = io.StringIO()
    writer = csv.DictWriter(written, rows[0] if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return written.getvalue().removesuffix("\n")


def _cell(value: Any) -> Any:
    return without_formula(value) if isinstance(value, str) else value


def _flat(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        parts = [_flat(each, f"{key}.{name}" if key else name) for name, each in value.items()]
        return [pair for part in parts for pair in part]
    return [(key, value)]


def _folder_bytes(folder: Path) -> int:
    files = (it for it in folder.rglob("*") if it.is_file() and not it.is_symlink())
    return sum(it.stat().st_blocks * 512 for it in files)
