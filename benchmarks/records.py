"""Done cells as they are kept in the repository: records and curves, a few kilobytes a cell.

    python -m benchmarks.records outputs benchmarks/stl10_shaped/NAME

The report reads such a folder (`--outputs`): a record vouches for the files that came along, and a
note names the others. Of paths, which are those of a machine, the last part is kept. Cells that are
there already are written anew.
"""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks.pack import is_sound, take_stock
from sslbench.cell.curves import CURVES
from sslbench.cell.folder import CellFolder, cells_folder
from sslbench.cell.record import RECORD, Record

KEPT = (RECORD, CURVES)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.records",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("outputs", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    number = keep_records(arguments.outputs, arguments.target)
    if not number:
        sys.exit(f"{cells_folder(arguments.outputs)}: no cell is done there")
    print(f"{number} cells in {cells_folder(arguments.target)}")


def keep_records(outputs: Path, target: Path) -> int:
    """Copy the records and curves of sound cells below `outputs`, and return how many there are."""
    folders = [CellFolder(outputs, path.name) for path in cells_folder(outputs).glob("*/")]
    sound = [folder for folder in folders if is_sound(folder)]
    for folder in sound:
        copied = cells_folder(target) / folder.cell_id
        copied.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(folder.path / name, copied / name)
    if sound:
        for record in take_stock(cells_folder(target)):
            forget_paths(record)
            record.save(cells_folder(target) / record.cell)
    return len(sound)


def forget_paths(record: Record) -> None:
    """Leave of a record's paths their last part."""
    settings, data = record.settings, record.settings["data"]
    settings["outputs"] = Path(settings["outputs"]).name
    data["root"] = Path(data["root"]).name


if __name__ == "__main__":
    main()
