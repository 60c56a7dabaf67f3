"""Dashboards on Weights & Biases: `python -m sslbench.dashboard --entity … --project …`.

It saves a workspace (panels of all runs) and a report (our tables beside the paper's, with panels),
and logs the tables to one summary run. Saving needs a login; `--dry-run` and `--summary` do not.
"""

import argparse
import json
import os
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.exit_codes import exit_at_ctrl_c
from sslbench.report import existing_folder

if TYPE_CHECKING:
    import pandas as pd

    from sslbench.tables.contents import Report

LAYOUT = json.loads(Path(__file__).with_suffix(".json").read_text())
"""Sections of curves, final metrics, settings to group runs by, and pictures."""
OUTPUT = "dashboard.json"
MAX_RUNS = 1000
"""In one panel."""
MAX_TITLE = 128
ROW = "row"
"""Of a run's config: what it is, but for its seed."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.dashboard",
        description="Build a new workspace and report on Weights & Biases, and log the sweep's "
        "tables to its one summary run.",
        epilog="Exit codes: 0; 1 if a cell could not be read, or W&B refused; 2 for wrong usage, "
        "no login or no wandb-workspaces.",
    )
    variables, add = os.environ, parser.add_argument
    entity, project = variables.get("WANDB_ENTITY"), variables.get("WANDB_PROJECT", "sslbench")
    add("--entity", default=entity, help="user or team; only --summary can do without")
    add("--project", default=project, help="(%(default)s)")
    add("--outputs", type=existing_folder, default="outputs", help="of the cells (%(default)s)")
    what = parser.add_mutually_exclusive_group()
    dry_run = f"save nothing: write it to <outputs>/report/{OUTPUT}; needs no login"
    what.add_argument("--dry-run", action="store_true", help=dry_run)
    summary = "only log the tables to the summary run; without a login offline, for wandb sync"
    what.add_argument("--summary", action="store_true", help=summary)
    return parser


@exit_at_ctrl_c()
def main(arguments: list[str] | None = None) -> None:
    """Build the dashboards, and leave with an exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.entity or options.summary):
        parser.error("--entity is needed: your user or team on W&B")
    if not options.summary and find_spec("wandb_workspaces") is None:
        parser.error("dashboards need wandb-workspaces: pip install 'sslbench[dashboard]'")
    from sslbench.files.atomic import make_writable_folder, write_json
    from sslbench.tables.assemble import build_report
    from sslbench.wandb_run import has_key

    try:
        if not (options.summary or options.dry_run or has_key()):
            parser.error("not logged in to W&B: run `wandb login`, or try --dry-run or --summary")
        report = build_report(options.outputs)
        make_writable_folder(report.folder, chosen_by=f"--outputs {options.outputs}")
    except ValueError as error:
        parser.error(str(error))
    for problem in report.problems:
        print(f"sslbench: {problem}", file=sys.stderr)
    contents = describe(report, options.entity, options.project)
    # In a dry run too: it fails where W&B's interface has changed.
    dashboards = {} if options.summary else build(contents)
    if options.dry_run:
        write_json(report.folder / OUTPUT, contents)
        print(f"written to {report.folder / OUTPUT}")
        done = True
    else:
        done = log_tables(contents, report.folder) & save(dashboards)
    sys.exit(0 if done and not report.problems else 1)


def describe(report: "Report", entity: str | None, project: str) -> dict[str, Any]:
    """Return what is to be saved, as JSON values: the answer first, then the tables."""
    from sslbench.tables.render import to_markdown
    from sslbench.tables.tables import claim_tables

    tables = report.tables + claim_tables(report.claims)
    return LAYOUT | {
        "account": {"entity": entity, "project": project},
        "description": f"Tables of {report.generated}, by python -m sslbench.dashboard",
        "verdict": report.verdict,
        "markdown": [answer_in_markdown(report), *map(to_markdown, tables)],
        "tables": {table.name: _numbers(table.values) for table in tables},
    }


def answer_in_markdown(report: "Report") -> str:
    """Write the first screen of the report: the verdict, what it is on, and what is wrong."""
    from sslbench.tables import answer
    from sslbench.words.escape import markdown

    lines = [f"## {markdown(answer.question(report))}", f"**{markdown(report.verdict)}**"]
    lines.append("; ".join(map(markdown, answer.facts(report))) + ".")
    lines += [f"- {markdown(line)}" for line in (*answer.alerts(report), *report.findings)]
    return "\n\n".join(lines)


def _numbers(frame: "pd.DataFrame") -> dict[str, Any]:
    """Return a frame as JSON values: numbers are numbers, what is missing is null."""
    from sslbench.files.checksums import finite_numbers

    return {"columns": list(frame), "data": finite_numbers(frame.astype(object).values.tolist())}


def build(contents: dict[str, Any]) -> dict[str, Any]:
    """Build what `describe` describes: W&B's `Workspace` and `Report`, by name."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    grouping, final = contents["grouping"], contents["final"]
    axes = [*map(wr.Config, grouping[:3]), wr.SummaryMetric(final[0])]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
    # A bar is of cells that are alike but for their seed: the mean of others would mean nothing.
    bars = {"groupby": wr.Config(ROW), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    limits = {"max_runs_to_show": MAX_RUNS}
    results = [
        wr.BarPlot(title=name, metrics=[name], **bars, **limits, max_bars_to_show=MAX_RUNS)
        for name in final
    ]
    sections = {"Results": [*results, wr.ParallelCoordinatesPlot(columns=columns)]}
    for name, metrics in contents["sections"].items():
        sections[name] = [
            wr.LinePlot(title=metric, x="step", y=[metric], **limits) for metric in metrics
        ]
    sections["Pictures"] = [
        wr.MediaBrowser(title=key, media_keys=[key], num_columns=3) for key in contents["media"]
    ]
    workspace = ws.Workspace(
        **contents["account"],
        name="sslbench",
        sections=[ws.Section(name=n, panels=p, is_open=True) for n, p in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=MAX_RUNS),
    )
    # Without a project of its own a run set is of the report's, with no look-up.
    runs = wr.Runset(name="Runs", groupby=[f"config.{ROW}"])
    grid = wr.PanelGrid(runsets=[runs], panels=[*chain.from_iterable(sections.values())])
    first, *tables = map(wr.MarkdownBlock, contents["markdown"])
    report = wr.Report(
        **contents["account"],
        title=f"sslbench: {contents['verdict']}"[:MAX_TITLE],
        description=contents["description"],
        width="fluid",
        blocks=[first, wr.TableOfContents(), *tables, wr.H2("Runs"), grid],
    )
    return {"workspace": workspace, "report": report}


def save(dashboards: dict[str, Any]) -> bool:
    """Save dashboards on W&B and print where; False where W&B refuses one."""
    saved = True
    for name, dashboard in dashboards.items():
        try:
            print(f"{name}: {dashboard.save().url}")
        except Exception as error:  # of any kind: network, rights, a changed server
            print(f"sslbench: W&B did not save the {name}: {error}", file=sys.stderr)
            saved = False
    return saved


def log_tables(contents: dict[str, Any], folder: Path) -> bool:
    """Log the tables to the project's one summary run; False where W&B refuses."""
    import wandb

    from sslbench.config.settings import Tracking
    from sslbench.wandb_run import place_of, start_run

    name = "summary"
    tracking = Tracking(**contents["account"], group=name)
    run = start_run(tracking, folder, id=name, name=name, job_type=name, tags=[name])
    if run is None:
        return False
    try:
        tables = contents["tables"].items()
        run.log({f"tables/{name}": wandb.Table(**rows) for name, rows in tables})
        run.finish()
    except Exception as error:
        print(f"sslbench: W&B did not take the tables: {error}", file=sys.stderr)
        return False
    print(f"summary run: {place_of(run)}")
    return True


if __name__ == "__main__":
    main()
