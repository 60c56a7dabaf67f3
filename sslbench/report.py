"""The report: `python -m sslbench.report` sets the cells below `outputs/` beside the paper's.

It prints tables and verdicts, and writes them to `<outputs>/report/`, with pictures and one
self-contained `report.html`. It needs neither network nor W&B, and reads a running sweep too.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.exit_codes import UsageError, exit_at_ctrl_c
from sslbench.machine.threads import allowed_threads, limit_pools

if TYPE_CHECKING:
    from sslbench.tables.contents import Report
    from sslbench.tables.pictures import Drawing

MOST_PROBLEMS = 30
"""In the terminal, so that what is above them is seen."""
CLAIMS = "1,2,3,4,5,6,7"
TO_TRAIN = """no cells below {}; to train them:
  the paper's, on STL-10       python -m sslbench.train -m experiment=paper seed=0,1,2
  a few on the stand-in        python -m sslbench.train -m experiment=demo seed=0,1,2"""


def _claim_numbers(text: str) -> list[int]:
    numbers = (CLAIMS if text == "all" else text.replace(" ", "")).split(",")
    if not set(CLAIMS.split(",")).issuperset(numbers):
        raise argparse.ArgumentTypeError(f"{text}: give numbers from 1 to 7, or all")
    return [int(number) for number in numbers]


def _formats(text: str) -> list[str]:
    kinds = text.replace(" ", "").split(",")
    if not {"svg", "pdf", "png"}.issuperset(kinds):
        raise argparse.ArgumentTypeError(f"{text}: give pdf, png or both, as in pdf,png")
    return kinds


def existing_folder(text: str) -> Path:
    """Turn an argument into a folder, for argparse."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder")
    return Path(text)


def num_threads(text: str) -> int:
    """Turn an argument into a number of threads, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.report",
        description="Set trained cells beside the paper's numbers and judge its claims.",
        epilog="Exit codes: 0; 1 if a cell could not be read, or a claim asked for by --check does "
        "not hold; 2 for wrong usage.",
    )
    folder = {"type": existing_folder, "action": "append", "metavar": "FOLDER"}
    where = "folder of the cells (outputs); may be given again, for those of other machines"
    parser.add_argument("--outputs", **folder, help=where)
    check = "exit with 1 unless these claims hold on cells in the paper's settings, else on others"
    numbers = {"type": _claim_numbers, "default": [], "metavar": "1,4,7|all"}
    parser.add_argument("--check", **numbers, help=check)
    figures = parser.add_mutually_exclusive_group()
    kinds = "write pictures in these formats, too; they are SVG, and so in the page"
    formats = {"type": _formats, "default": [], "metavar": "pdf,png"}
    figures.add_argument("--figures", **formats, help=kinds)
    none = "draw no pictures, and leave a page that has some as it is"
    figures.add_argument("--no-figures", action="store_true", help=none)
    watch = "show how a running sweep is doing on one screen, until Ctrl-C; write nothing"
    parser.add_argument("--watch", action="store_true", help=watch)
    paper = "show the paper beside someone's own ablation, too"
    parser.add_argument("--paper", action="store_true", help=paper)
    as_json = "print all that the report says as JSON; it is in <outputs>/report/report.json, too"
    parser.add_argument("--json", action="store_true", help=as_json)
    threads = {"type": num_threads, "metavar": "N"}
    parser.add_argument("--threads", **threads, help="as many at most; none: one for each core")
    return parser


@exit_at_ctrl_c()
def main(arguments: list[str] | None = None) -> None:
    """Print and write the report, and leave with its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    outputs = options.outputs or [Path("outputs")]
    if not outputs[0].is_dir():
        parser.error(f"argument --outputs: {outputs[0]}: no such folder")
    limit_pools(options.threads or allowed_threads())
    from sslbench.machine.calls import import_early, processes_ended

    page = None
    with processes_ended():
        if not (options.watch or options.no_figures):
            import_early("sslbench.tables.pictures")
        from sslbench.tables.assemble import build_report, gather_report, judge
        from sslbench.tables.claims import failed_claims
        from sslbench.words.escape import printable
        from sslbench.words.output import show

        if options.watch:
            from sslbench.tables.watch import watch

            watch(lambda: build_report(*outputs, with_paper=options.paper))
            return
        report = gather_report(*outputs, with_paper=options.paper)
        drawing = None if options.no_figures else _begin_drawing(report, options.figures)
        judge(report)
        if report.cells or report.problems:
            page = _write(report, drawing)
    show(_json(report) if options.json else _text(report, page))
    failed = failed_claims(report.claims, options.check)
    left = len(report.problems) - MOST_PROBLEMS
    more = [f"{left:,} more problem{'s' * (left > 1)}; {page} has them all"] if left > 0 else []
    for line in report.problems[:MOST_PROBLEMS] + more + failed:
        print(f"sslbench: {printable(line)}", file=sys.stderr)
    sys.exit(1 if report.problems or failed else 0)


def _begin_drawing(report: "Report", formats: list[str]) -> "Drawing":
    from sslbench.tables.pictures import Drawing  # matplotlib takes a second

    return Drawing(report, formats)


def _write(report: "Report", drawing: "Drawing | None") -> Path:
    from sslbench.tables.assemble import write_report
    from sslbench.words.trouble import find_trouble

    try:
        return write_report(report, drawing)
    except OSError as error:
        trouble = find_trouble(error)
        raise UsageError(
            f"the report cannot be written to {report.folder}: "
            f"{trouble.sentence if trouble else error}; remove what is in its way, or pick "
            f"another folder than --outputs {report.outputs}"
        ) from None


def _text(report: "Report", page: Path | None) -> str:
    from sslbench.tables.overview import overview
    from sslbench.tables.text import to_text

    if page is None:
        return TO_TRAIN.format(report.outputs / "cells")
    # The answer last: that is where a terminal's reader is.
    own = [] if report.has_paper_cells else report.tables[:1]
    lines = [*map(to_text, report.tables[len(own) :]), *(f"note: {it}" for it in report.notes)]
    return "\n".join([*lines, *map(to_text, own), overview(report), f"written to {page}"])


def _json(report: "Report") -> str:
    from sslbench.tables.as_json import to_json

    return json.dumps(to_json(report), indent=1, allow_nan=False)


if __name__ == "__main__":
    main()
