"""Removing cells, or what takes the room in them, while other programs may use them."""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sslbench.cell.folder import Busy, CellFolder
from sslbench.cell.listing import Filters, Listed, list_cells
from sslbench.cell.record import DONE, RECORD


def dependants(outputs: Path, cells: Sequence[Listed]) -> dict[str, list[str]]:
    """Return, by cell, the cells that start from it and are not among these themselves."""
    chosen = {cell.id for cell in cells}
    found: dict[str, list[str]] = {}
    for cell in list_cells(outputs, Filters()):
        parent = cell.settings.get("init.from")
        if parent in chosen and cell.id not in chosen:
            found.setdefault(parent, []).append(cell.id)
    return found


def remove(cells: Sequence[Listed], *, weights_only: bool) -> dict[str, str]:
    """Remove cells, each under its lock, and return those that stay, with the reason.

    Args:
        weights_only: Keep a finished cell, its results, curves and embeddings, and note in its
            record that its weights were removed.
    """
    failed = {}
    for cell in cells:
        folder = CellFolder(cell.folder.parent.parent, cell.id)
        try:
            with folder.locked():
                if weights_only:
                    _remove_weights(folder)
                else:
                    shutil.rmtree(cell.folder)
        except Busy:
            failed[cell.id] = "a process trains it; stop that first"
        except ValueError as error:
            failed[cell.id] = str(error)
        except OSError as error:
            failed[cell.id] = f"cannot be removed ({error.strerror})"
    return failed


def _remove_weights(folder: CellFolder) -> None:
    """Delete a finished cell's checkpoints, and have its record vouch for the other files alone.

    Raises:
        ValueError: If it is not finished: it would begin anew.
    """
    record = folder.record()
    if record is None or record.status != DONE:
        raise ValueError("not finished: without its checkpoint it would begin anew")
    weights = [name for name in record.files if name.endswith(".pt")]
    if weights:
        record.files = {name: it for name, it in record.files.items() if name not in weights}
        record.notes.append(f"its weights were removed on {datetime.now(UTC).date()}")
        then = (folder.path / RECORD).stat()
        record.save(folder.path)
        # Its age stays that of its results.
        os.utime(folder.path / RECORD, ns=(then.st_atime_ns, then.st_mtime_ns))
    for path in folder.path.glob("*.pt"):
        path.unlink()
