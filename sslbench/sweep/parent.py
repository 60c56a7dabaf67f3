"""Cells that start from another cell's encoder, and what becomes of them where that is not done."""

from sslbench.cell.cell import Cell
from sslbench.cell.folder import Busy, CellFolder
from sslbench.cell.record import BLOCKED
from sslbench.sweep.training import is_done


def block(cell: Cell) -> bool:
    """Record a cell as blocked if the cell that it starts from did not finish.

    A cell that another sweep has done meanwhile is left as it is.
    """
    start = cell.settings.init_from
    if start is None:
        return False
    parent = CellFolder(cell.settings.outputs, start)
    if not parent.path.is_dir() or is_done(parent.readable_record()):  # a file is no cell
        return False
    message = f"{start} did not finish"
    try:
        with cell.folder.locked():
            records = [folder.readable_record() for folder in (cell.folder, parent)]
            if any(map(is_done, records)):
                return False
            record = cell.record(BLOCKED, error={"type": "Blocked", "message": message})
            record.save(cell.folder.path)
    except Busy:  # another sweep has found the parent done since
        return False
    return True
