"""All cells below an output folder, whatever state they are in."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sslbench.atomic import read_curves
from sslbench.cell.folder import RUNNING, CellFolder
from sslbench.cell.record import DONE, INTERRUPTED, SETTINGS, Record
from sslbench.cell.start import cells_folder


@dataclass(frozen=True)
class Cell:
    """One cell on disk. `status` is the record's, or `running`, or `interrupted` without a record.

    `settings` are nested dicts as `record.settings_to_dict` makes them.
    """

    cell_id: str
    folder: Path
    status: str
    settings: dict[str, Any]
    record: Record | None

    def curves(self) -> pd.DataFrame:
        """Return the points of the curves: `step`, `epoch`, `split`, and a column per metric."""
        return pd.DataFrame(read_curves(self.folder / "metrics.jsonl"))


@dataclass
class Gathered:
    """Cells, and what could not be read, named."""

    cells: list[Cell] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def gather(outputs: Path) -> Gathered:
    """Read every cell below `<outputs>/cells`; a corrupt one is named and skipped."""
    gathered = Gathered()
    for path in sorted(cells_folder(str(outputs)).glob("*/")):
        try:
            cell = _read(path, outputs)
        except (ValueError, OSError) as error:
            gathered.problems.append(str(error))
            continue
        if cell is not None:
            gathered.cells.append(cell)
    return gathered


def _read(path: Path, outputs: Path) -> Cell | None:
    folder = CellFolder(outputs, path.name)
    record = folder.record()
    if record is not None and record.status == DONE:
        return Cell(path.name, path, DONE, record.settings, record)
    running = (path / ".lock").exists() and folder.state() == RUNNING
    if record is not None:
        return Cell(path.name, path, RUNNING if running else record.status, record.settings, record)
    try:
        settings = json.loads((path / SETTINGS).read_text())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path / SETTINGS}: not a cell's settings ({error})") from error
    return Cell(path.name, path, RUNNING if running else INTERRUPTED, settings, None)
