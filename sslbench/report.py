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
START = "python -m sslbench.train -m experiment=paper seed=0,1,2"
QUICK_START = "python -m sslbench.train -m experiment=demo seed=0,1,2"


def _claim_numbers(text: str) -> list[int]:
    if text == "all":
        return list(range(1, NUM_CLAIMS + 1))
    numbers = [int(part) for part in text.split(",") if part.strip().isdigit()]
    if len(numbers) != len(text.split(",")) or not all(1 <= n <= NUM_CLAIMS for n in numbers):
        raise argparse.ArgumentTypeError(f"{text}: give numbers from 1 to {NUM_CLAIMS}, or all")
    return numbers


def existing_folder(text: str) -> Path:
    """Turn an argument into a folder, for argparse."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.report",
        description="Set trained cells beside the paper's figures, with intervals and a verdict "
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
    if report.gathered.cells or report.problems:
        try:
            make_report(report, with_figures=not options.no_figures)
        except OSError as error:
            raise UsageError(
                f"the report cannot be written to {report.folder} ({error}); remove what is in "
                f"its way, or pick another folder than --outputs {options.outputs}"
            ) from None
        lines = [*map(to_text, report.tables), verdicts_to_text(report.claims)]
        lines.append(f"written to {report.folder}")
    else:
        lines = [
            f"no cells below {options.outputs / 'cells'}; to train them:",
            f"  the paper's, on STL-10       {START}",
            f"  a few on the stand-in        {QUICK_START}",
        ]
    _print_lines(lines)
    for problem in report.problems:
        print(f"sslbench: {problem}", file=sys.stderr)
    failed = failed_claims(report, options.check)
    for line in failed:
        print(f"sslbench: {line}", file=sys.stderr)
    sys.exit(1 if report.problems or failed else 0)


def _print_lines(lines: list[str]) -> None:
    """Print, and go on quietly where the reader, such as `head`, has read enough."""
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        # What is still in the buffer is written when Python ends, and must not fail there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_cells(outputs: Path) -> "Report":
    """Read all cells below `outputs`, and sort them into groups."""
    from sslbench.tables.contents import Report
    from sslbench.tables.gather import gather
    from sslbench.tables.groups import find_groups

    gathered = gather(outputs)
    groups, misfits = find_groups(gathered.cells)
    return Report(
        outputs=outputs,
        gathered=gathered,
        groups=groups,
        problems=gathered.problems + misfits,
        generated=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def judge(report: "Report") -> None:
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


def build_report(outputs: Path) -> "Report":
    """Read all cells below `outputs` into tables and verdicts, without pictures."""
    report = read_cells(outputs)
    judge(report)
    return report


def make_report(report: "Report", *, with_figures: bool = True) -> None:
    """Judge the cells that were read, and write tables, pictures and `report.html`."""
    from sslbench.tables.render import write_table

    started = nullcontext(list)
    report.folder.mkdir(parents=True, exist_ok=True)
    if with_figures:
        from sslbench.tables.figures import figures_started

        started = figures_started(report)
    with started as draw:
        judge(report)
        from sslbench.tables.html import write_html  # these take time: figures have begun
        from sslbench.tables.tables import claim_tables

        for table in report.tables + claim_tables(report.claims):
            write_table(table, report.folder)
        report.figures = draw()
    write_html(report.folder / "report.html", report)


def failed_claims(report: "Report", numbers: list[int]) -> list[str]:
    """Name the claims among `numbers` that do not hold on our cells."""
    from sslbench.tables.claims import HOLDS, PAPER_GROUP

    ours = [claim for claim in report.claims if claim.group != PAPER_GROUP]
    ours = [claim for claim in ours if claim.on_paper_settings] or ours
    asked = [claim for claim in ours if claim.number in numbers]
    lines = [
        f"claim {claim.number} on {claim.group}: {claim.verdict}"
        for claim in asked
        if claim.verdict != HOLDS
    ]
    return lines + [
        f"claim {number}: no data"
        for number in numbers
        if number not in {claim.number for claim in asked}
    ]


if __name__ == "__main__":
    main()
