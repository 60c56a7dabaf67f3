"""Dashboards on Weights & Biases: `python -m sslbench.dashboard --entity … --project …`.

It saves a workspace (panels of all runs) and a report (our tables beside the paper's, with panels),
and logs the tables to one summary run. Saving needs a login; `--dry-run` and `--summary` do not.
"""

import argparse
import os
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.report import existing_folder

if TYPE_CHECKING:
    from sslbench.tables.contents import Report, Table

CURVES = {
    "Accuracy": ("val/accuracy", "train/accuracy"),
    "Loss": ("val/loss", "train/loss"),
    "Pseudo-labels": (
        "val/pseudo_label_accuracy",
        "train/confidence",
        "train/kept",
        "train/pseudo_label_entropy",
        "train/pseudo_label_max_share",
    ),
    "Embeddings": ("train/embedding_std",),
    "Learning rate": ("train/lr",),
}
JSON_NAME = "dashboard.json"
GROUPING = ("method.name", "model.name", "ratio.name", "data.name")
FINAL = ("test/accuracy", "val/accuracy", "train/accuracy", "knn/test")
BAR = {"metrics": ["test/accuracy"], "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
SECTIONS: dict[str, list[dict[str, Any]]] = {
    "Results": [
        *(
            {"type": "BarPlot", "title": f"test/accuracy by {key}", "groupby": key, **BAR}
            for key in GROUPING[:3]
        ),
        {"type": "ParallelCoordinatesPlot", "config": GROUPING[:3], "summary": FINAL[:1]},
    ],
    **{
        section: [
            {"type": "LinePlot", "title": metric, "x": "step", "y": [metric]} for metric in metrics
        ]
        for section, metrics in CURVES.items()
    },
    "Pictures": [
        {"type": "MediaBrowser", "title": key, "media_keys": [key], "num_columns": 3}
        for key in ("embeddings/tsne", "images")
    ],
}
"""The panels of the workspace, section by section, and of the report: types and their arguments."""
OPEN = ("Results", "Accuracy")
COLUMNS = [
    "summary:status",
    # W&B keeps nested settings under a `value` of their first part.
    *(f"config:{key.replace('.', '.value.')}" for key in GROUPING),
    *(f"summary:{metric}" for metric in FINAL),
]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.dashboard",
        description="Build a workspace and a report on Weights & Biases, and log the sweep's "
        "tables to a summary run. Each call saves a new workspace and a new report, and continues "
        "the one summary run.",
        epilog="Exit codes: 0; 1 if a cell could not be read, or W&B refused; 2 for wrong usage, "
        "no login or no wandb-workspaces.",
    )
    variables, add = os.environ, parser.add_argument
    entity, project = variables.get("WANDB_ENTITY"), variables.get("WANDB_PROJECT", "sslbench")
    add("--entity", default=entity, help="user or team; only --summary can do without")
    add("--project", default=project, help="(%(default)s)")
    # The default is a text, so that it is checked too.
    add("--outputs", type=existing_folder, default="outputs", help="of the cells (%(default)s)")
    what = parser.add_mutually_exclusive_group()
    dry_run = f"save nothing: write it to <outputs>/report/{JSON_NAME}; needs no login"
    what.add_argument("--dry-run", action="store_true", help=dry_run)
    summary = "only log the tables to the summary run; without a login offline, for wandb sync"
    what.add_argument("--summary", action="store_true", help=summary)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Build the dashboards, and leave with an exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.entity or options.summary):
        parser.error("--entity is needed: your user or team on W&B")
    if not options.summary and find_spec("wandb_workspaces") is None:
        parser.error("dashboards need wandb-workspaces: pip install 'sslbench[dashboard]'")
    from sslbench.atomic import make_writable_folder, write_json
    from sslbench.report import build_report
    from sslbench.tracking import has_key

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
        write_json(report.folder / JSON_NAME, contents)
        print(f"written to {report.folder / JSON_NAME}")
        done = True
    else:
        done = log_tables(contents, report.folder) & save(dashboards)
    sys.exit(0 if done and not report.problems else 1)


def describe(report: "Report", entity: str | None, project: str) -> dict[str, Any]:
    """Return what is to be saved, as JSON values."""
    from sslbench.tables.render import to_markdown
    from sslbench.tables.tables import claim_tables

    tables = report.tables + claim_tables(report.claims)
    return {
        "account": {"entity": entity, "project": project},
        "sections": SECTIONS,
        "workspace": {"name": "sslbench", "pinned_columns": COLUMNS},
        "report": {
            "title": "sslbench: ours beside the paper's",
            "description": f"Tables of {report.generated}, by python -m sslbench.dashboard",
            "groupby": [f"config.{key}" for key in GROUPING],
            "markdown": [to_markdown(table) for table in tables],
        },
        "tables": {table.name: _rows(table) for table in tables},
    }


def _rows(table: "Table") -> dict[str, list]:
    """Return a table's columns and rows as they are shown: texts."""
    frame = table.frame.astype(object).where(table.frame.notna(), "")
    return {"columns": [*map(str, frame.columns)], "data": frame.astype(str).to_numpy().tolist()}


def build(contents: dict[str, Any]) -> dict[str, Any]:
    """Build what `describe` describes: W&B's `Workspace` and `Report`, by name."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    sections = {
        name: [_panel(**panel) for panel in panels] for name, panels in contents["sections"].items()
    }
    workspace = ws.Workspace(
        **contents["account"],
        name=contents["workspace"]["name"],
        sections=[
            ws.Section(name=name, panels=panels, is_open=name in OPEN)
            for name, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=50),
        runset_settings=ws.RunsetSettings(pinned_columns=contents["workspace"]["pinned_columns"]),
    )
    texts = contents["report"]
    # Without a project of its own a run set is of the report's, with no look-up.
    runs = wr.Runset(name="Runs", groupby=texts["groupby"])
    report = wr.Report(
        **contents["account"],
        title=texts["title"],
        description=texts["description"],
        width="fluid",
        blocks=[
            wr.TableOfContents(),
            *map(wr.MarkdownBlock, texts["markdown"]),
            wr.H2("Runs"),
            wr.PanelGrid(runsets=[runs], panels=[*chain.from_iterable(sections.values())]),
        ],
    )
    return {"workspace": workspace, "report": report}


def _panel(type: str, **arguments: Any) -> Any:
    import wandb_workspaces.reports.v2 as wr

    if type == "BarPlot":
        arguments["groupby"] = wr.Config(arguments["groupby"])
    if type == "ParallelCoordinatesPlot":
        axes = [*map(wr.Config, arguments["config"])]
        axes += map(wr.SummaryMetric, arguments["summary"])
        arguments = {"columns": [wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]}
    return getattr(wr, type)(**arguments)


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
    from sslbench.tracking import place_of, start_run

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
