"""What lies below `outputs/`: `python -m sslbench.cells ls|show|du|rm`.

Cells are chosen by their settings (`method=semi model=resnet18 seed=0`), state, age and code.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.exit_codes import UsageError, exit_at_ctrl_c

if TYPE_CHECKING:
    from sslbench.cell.listing import Filters, Listed

AGES = {"h": 3600, "d": 86400, "w": 7 * 86400}


def _age(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in AGES or not number.replace(".", "", 1).isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: give hours, days or weeks, as in 12h, 30d or 2w")
    return float(number) * AGES[unit]


def _setting(text: str) -> str:
    if "=" not in text.lstrip("="):
        raise argparse.ArgumentTypeError(
            f"{text}: give setting=value, as in method=semi; a cell goes by --cell {text}"
        )
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.cells",
        description="List, show, measure and remove cells.",
        epilog="Exit codes: 0; 1 if a cell that was to be removed was not; 2 for wrong usage.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="ls|show|du|rm")
    kinds = {
        "ls": "list cells with their state, accuracy, age and size",
        "show": "show all that is known of one cell",
        "du": "say what takes the room: weights, embeddings, tracking, caches",
        "rm": "remove cells, or their weights alone",
    }
    for name, what in kinds.items():
        command = commands.add_parser(name, help=what, description=f"{what}.".capitalize())
        add = command.add_argument
        add("--outputs", type=Path, default=Path("outputs"), help="folder of cells (%(default)s)")
        if name != "rm":
            add("--format", choices=("text", "json", "csv"), default="text", help="(%(default)s)")
        if name == "show":
            add("cell", help="its id")
            continue
        add("settings", nargs="*", type=_setting, metavar="setting=value", help="of these cells")
        add("--cell", action="append", metavar="ID", help="these alone; may be given again")
        add("--state", metavar="STATE", help="done, failed, running, … of these")
        add("--older-than", type=_age, metavar="30d", help="touched last before that time")
        add("--other-code", action="store_true", help="trained by other code than this")
        if name == "rm":
            add("--weights", action="store_true", help="free the weights; results and curves stay")
            add("--yes", action="store_true", help="do not ask")
    return parser


@exit_at_ctrl_c()
def main(arguments: list[str] | None = None) -> None:
    """Do what is asked, and leave with its exit code."""
    options = _parser().parse_args(arguments)
    from sslbench.cell.listing import Filters, list_cells
    from sslbench.words.output import show

    if not options.outputs.is_dir():
        raise UsageError(f"--outputs {options.outputs}: no such folder")
    if options.command == "show":
        filters = Filters(ids=[options.cell])
    else:
        filters = Filters(
            settings=options.settings,
            ids=options.cell,
            state=options.state,
            older_than=options.older_than,
            other_code=options.other_code,
        )
    try:
        cells = list_cells(options.outputs, filters)
    except ValueError as error:
        raise UsageError(error) from None
    if options.command == "rm":
        sys.exit(_remove(cells, options, filters))
    show(_written(cells, options))


def _written(cells: "list[Listed]", options: argparse.Namespace) -> str:
    from sslbench.cell import listing_text as text

    if options.command == "show":
        return text.one(cells[0], options.format)
    if options.command == "du":
        return text.room(cells, options.outputs, options.format)
    return text.table(cells, options.format)


def _remove(cells: "list[Listed]", options: argparse.Namespace, filters: "Filters") -> int:
    from sslbench.cell.listing_text import size, table
    from sslbench.cell.removal import dependants, remove

    if not cells:
        print("no such cells")
        return 0
    if filters.is_empty and not options.yes:
        print("all cells are meant: no setting, state or age was given")
    what = "the weights of" if options.weights else "all of"
    freed = sum(cell.room["weights"] if options.weights else cell.bytes for cell in cells)
    print(table(cells, "text"))
    for parent, children in dependants(options.outputs, cells).items():
        print(f"note: {parent}: without it these cannot be trained again: {', '.join(children)}")
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsageError("rm asks before it removes, and nobody is there to answer: add --yes")
        answer = input(f"Remove {what} {_cells(len(cells))}, {size(freed)}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 1
    failed = remove(cells, weights_only=options.weights)
    for cell, why in failed.items():
        print(f"sslbench: {cell}: {why}", file=sys.stderr)
    print(f"removed {what} {_cells(len(cells) - len(failed))}")
    return 1 if failed else 0


def _cells(number: int) -> str:
    return f"{number} cell{'s' * (number != 1)}"


if __name__ == "__main__":
    main()
