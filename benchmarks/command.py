"""What the benchmarks' command lines share: options, Markdown tables and their JSON."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MODELS = ("convnet", "resnet18", "wrn45_2")
METHODS = ("supervised", "barlow", "semi")
WRN_IN_A_SHORT_RUN = "model.bn_momentum=0.1"
"""WRN-45-2's own 0.001 follows a thousand steps; in a short run it would be evaluated untrained."""


@dataclass(frozen=True)
class Table:
    """Rows of text; figures are rounded by who made them."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def to_markdown(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join([f"### {self.title}\n", *(f"| {' | '.join(line)} |" for line in lines)])


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what all of them take: `--quick`, `--json`, and the hidden `--part`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="does it run? In seconds; figures mean nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # measure it here, and print its JSON
    return parser


def names(known: tuple[str, ...]) -> Any:
    """Return a parser of comma-separated names."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name}: must be one of {', '.join(known)}")
        return chosen

    return parse


def numbers(text: str) -> tuple[int, ...]:
    """Parse comma-separated whole numbers, each at least 1."""
    try:
        chosen = tuple(int(word) for word in text.split(","))
    except ValueError:
        chosen = (0,)
    if min(chosen) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be whole numbers from 1 on, as in 20,100")
    return chosen


def add_cells_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses cells: models, methods and data."""
    parser.add_argument("--models", type=names(MODELS), default=MODELS, metavar="A,B")
    parser.add_argument("--methods", type=names(METHODS), default=METHODS, metavar="A,B")
    parser.add_argument(
        "--data-root", type=Path, help="folder of a set in STL-10's layout; default: digits"
    )


def data_overrides(data_root: Path | None) -> list[str]:
    """Return the settings of the data to measure on; all of a set's unlabelled images are used."""
    if data_root is None:
        return ["data=digits", "tracking=off"]
    return ["data=layout", f"data.root={data_root.resolve()}", "ratio=all", "tracking=off"]


def print_tables(tables: list[Table], arguments: argparse.Namespace, **raw: Any) -> None:
    """Print tables with the command that made them; write them and `raw` where JSON is wanted."""
    _print_command()
    print("\n\n".join(table.to_markdown() for table in tables), flush=True)
    _write_json(tables, arguments, raw)


def print_rows(
    title: str,
    columns: tuple[str, ...],
    measured: Iterable[tuple[tuple[str, ...], Any]],
    arguments: argparse.Namespace,
) -> None:
    """Print a table row by row as it is measured, so that a cut costs the rows to come alone.

    Args:
        measured: Yields each row with the figures that it was made of, for JSON.
    """
    table, runs = Table(title, columns, []), []
    _print_command()
    print(table.to_markdown(), flush=True)
    for row, figures in measured:
        table.rows.append(row)
        runs.append(figures)
        print(f"| {' | '.join(row)} |", flush=True)
        _write_json([table], arguments, {"runs": runs})


def _print_command() -> None:
    print(f"`python -m {sys.modules['__main__'].__spec__.name} {shlex.join(sys.argv[1:])}`\n")


def _write_json(tables: list[Table], arguments: argparse.Namespace, raw: dict[str, Any]) -> None:
    if arguments.json:
        report = {"arguments": vars(arguments), "tables": [asdict(table) for table in tables]}
        arguments.json.write_text(json.dumps(report | raw, indent=1, default=str) + "\n")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="sslbench-bench-") as folder:
        yield Path(folder)
