"""The report: `python -m sslbench.report` sets the cells below `outputs/` beside the paper's.

It prints tables and verdicts, and writes them to `<outputs>/report/`, with pictures and one
self-contained `report.html`. It needs neither network nor W&B, and reads a running sweep too.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sslbench.tables.contents import Report

NUM_CLAIMS = 7
TO_TRAIN = """no cells below {}; to train them:
  the paper's, on STL-10       python -m sslbench.train -m experiment=paper seed=0,1,2
  a few on the stand-in        python -m sslbench.train -m experiment=demo seed=0,1,2"""


def _claim_numbers(text: str) -> list[int]:
    known = {str(number) for number in range(1, NUM_CLAIMS + 1)}
    numbers = sorted(known) if text == "all" else [part.strip() for part in text.split(",")]
    if not known.issuperset(numbers):
        raise argparse.ArgumentTypeError(f"{text}: give numbers from 1 to {NUM_CLAIMS}, or all")
    return [int(number) for number in numbers]


def existing_folder(text: str) -> Path:
    """Turn an argument into a folder, for argparse."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.report",
        description="Set trained cells beside the paper's numbers, with intervals and a verdict "
        "on each of its claims.",
        epilog="Exit codes: 0; 1 if a cell could not be read, or a claim asked for by --check does "
        "not hold; 2 for wrong usage.",
    )
    parser.add_argument(
        "--outputs",
        type=existing_folder,
        default=Path("outputs"),
        help="folder of the cells (%(default)s)",
    )
    parser.add_argument(
        "--check",
        type=_claim_numbers,
        default=[],
        metavar="1,4,7|all",
        help="exit with 1 unless these claims hold on STL-10 in the paper's settings; where there "
        "are no such cells, on every other group of cells",
    )
    parser.add_argument("--no-figures", action="store_true", help="write no pictures")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Print and write the report, and leave with its exit code."""
    options = _parser().parse_args(arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called: what is written there goes nowhere
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    from sslbench.exit_codes import UsageError
    from sslbench.tables.render import to_text, verdicts_to_text

    report = read_cells(options.outputs)
    if report.cells or report.problems:
        try:
            make_report(report, with_pictures=not options.no_figures)
        except OSError as error:
            raise UsageError(
                f"the report cannot be written to {report.folder} ({error}); remove what is in "
                f"its way, or pick another folder than --outputs {options.outputs}"
            ) from None
        lines = [*map(to_text, report.tables), verdicts_to_text(report.claims)]
        _print("\n".join([*lines, f"written to {report.folder}"]))
    else:
        _print(TO_TRAIN.format(options.outputs / "cells"))
    failed = failed_claims(report, options.check)
    for line in report.problems + failed:
        print(f"sslbench: {line}", file=sys.stderr)
    sys.exit(1 if report.problems or failed else 0)


def _print(text: str) -> None:
    """Print, and go on quietly where the reader, such as `head`, has read enough."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # A folder's name need not be text, nor a terminal show all characters.
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # What is still in the buffer is written when Python ends, and must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_cells(outputs: Path) -> "Report":
    """Read all cells below `outputs`, and sort them into groups."""
    from sslbench.tables.contents import Report
    from sslbench.tables.gather import gather
    from sslbench.tables.groups import find_groups

    cells, problems = gather(outputs)
    groups, misfits = find_groups(cells)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(outputs, cells, groups, problems=problems + misfits, generated=now)


def build_report(outputs: Path) -> "Report":
    """Read all cells below `outputs` into tables and verdicts, without pictures."""
    report = read_cells(outputs)
    _judge(report)
    return report


def make_report(report: "Report", *, with_pictures: bool = True) -> None:
    """Judge the cells that were read, and write tables, pictures and `report.html`."""
    started = nullcontext(list)
    report.folder.mkdir(parents=True, exist_ok=True)
    if with_pictures:
        from sslbench.tables.pictures import pictures_started

        started = pictures_started(report)
    with started as draw:
        from sslbench.tables.page import write_page  # these take time: projections have begun
        from sslbench.tables.render import write_table
        from sslbench.tables.tables import claim_tables

        _judge(report)
        for table in report.tables + claim_tables(report.claims):
            write_table(table, report.folder)
        report.pictures = draw()
    write_page(report.folder / "report.html", report)


def _judge(report: "Report") -> None:
    """Add tables and verdicts."""
    from sslbench.tables.claims import NO_DATA, group_claims, paper_claims
    from sslbench.tables.groups import is_ablation
    from sslbench.tables.tables import build_tables

    report.tables = build_tables(report.groups, str(report.outputs))
    report.claims = paper_claims()
    for group in report.groups:
        if not is_ablation(group, report.groups):
            found = group_claims(group, report.problems)
            if group.is_paper or any(claim.verdict != NO_DATA for claim in found):
                report.claims += found


def failed_claims(report: "Report", numbers: list[int]) -> list[str]:
    """Name the claims among `numbers` that do not hold on our cells."""
    from sslbench.tables.claims import HOLDS, PAPER_GROUP

    ours = [claim for claim in report.claims if claim.group != PAPER_GROUP]
    ours = [claim for claim in ours if claim.on_paper_settings] or ours
    lines = [
        f"claim {claim.number} on {claim.group}: {claim.verdict}"
        for claim in ours
        if claim.number in numbers and claim.verdict != HOLDS
    ]
    judged = {claim.number for claim in ours}
    return lines + [f"claim {number}: no data" for number in numbers if number not in judged]


if __name__ == "__main__":
    main()
