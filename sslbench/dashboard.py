"""Dashboards on Weights & Biases: `python -m sslbench.dashboard --entity … --project …`.

It saves a workspace (panels of all runs) and a report (our tables beside the paper's, with panels),
and logs the tables to one summary run. Saving needs a login; `--dry-run` and `--summary` do not.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.report import existing_folder

if TYPE_CHECKING:
    from sslbench.tables.contents import Report, Table

SUMMARY_RUN = "summary"
JSON_NAME = "dashboard.json"
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
FINAL = ("test/accuracy", "val/accuracy", "train/accuracy", "knn/test")
MEDIA = ("embeddings/tsne", "images")
NOT_IN_NAMES = "/\\#?%:"
"""What W&B does not take in the name of a project."""
GROUPING = ("method.name", "model.name", "ratio.name", "data.name")


def _name(text: str) -> str:
    if not text.strip() or set(text) & set(NOT_IN_NAMES):
        raise argparse.ArgumentTypeError(f"{text!r}: give a name, and none of {NOT_IN_NAMES} in it")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sslbench.dashboard",
        description="Build a workspace and a report on Weights & Biases, and log the sweep's "
        "tables to a summary run. Each call saves a new workspace and a new report, and continues "
        "the one summary run.",
        epilog="Exit codes: 0; 1 if a cell could not be read, or W&B refused; 2 for wrong usage, "
        "no login or no wandb-workspaces.",
    )
    parser.add_argument(
        "--entity", type=_name, help="user or team on W&B; only --summary can do without"
    )
    parser.add_argument("--project", type=_name, default="sslbench", help="(%(default)s)")
    parser.add_argument(
        "--outputs",
        type=existing_folder,
        default="outputs",  # a text, so that it is checked too
        help="folder of the cells (%(default)s)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--dry-run",
        action="store_true",
        help=f"write all as JSON to <outputs>/report/{JSON_NAME} instead; needs no login",
    )
    what.add_argument(
        "--summary",
        action="store_true",
        help="only log the tables to the summary run; without a login offline, for wandb sync",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Build the dashboards, and leave with an exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.entity is None and not options.summary:
        parser.error("--entity is needed: your user or team on W&B")
    from sslbench.atomic import make_writable_folder
    from sslbench.exit_codes import UsageError
    from sslbench.report import build_report
    from sslbench.tables.tables import claim_tables

    if not options.summary:
        _require_workspaces()
    if not (options.summary or options.dry_run):
        _require_key()
    report = build_report(options.outputs)
    tables = report.tables + claim_tables(report.claims)
    for problem in report.problems:
        print(f"sslbench: {problem}", file=sys.stderr)
    try:
        make_writable_folder(report.folder, chosen_by=f"--outputs {options.outputs}")
    except ValueError as error:
        raise UsageError(error) from None
    if options.dry_run:
        print(f"written to {write_dashboard(report, tables, options.entity, options.project)}")
        sys.exit(1 if report.problems else 0)
    logged = log_tables(tables, options.entity, options.project, report.folder)
    if not options.summary:
        logged = save_dashboard(report, tables, options.entity, options.project) and logged
    sys.exit(0 if logged and not report.problems else 1)


def _require_workspaces() -> None:
    from importlib.util import find_spec

    from sslbench.exit_codes import UsageError

    if find_spec("wandb_workspaces") is None:
        raise UsageError(
            "dashboards need wandb-workspaces:\n    pip install 'sslbench[dashboard]'\n"
            "(or: pip install wandb-workspaces)"
        )


def _require_key() -> None:
    from sslbench.exit_codes import UsageError
    from sslbench.tracking import has_key

    if not has_key():
        raise UsageError("not logged in to W&B: run `wandb login`, or try --dry-run or --summary")


def build_workspace(entity: str, project: str) -> Any:
    """Build the workspace: curves, final figures by method, model and ratio, pictures."""
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section(name=name, panels=_curve_panels(metrics), is_open=name == "Accuracy")
        for name, metrics in CURVES.items()
    ]
    sections.insert(1, ws.Section(name="Results", panels=_final_panels(), is_open=True))
    sections.append(ws.Section(name="Pictures", panels=_media_panels()))
    return ws.Workspace(
        entity=entity,
        project=project,
        name="sslbench",
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=50),
        runset_settings=ws.RunsetSettings(
            pinned_columns=[
                "summary:status",
                *(f"config:{_nested(key)}" for key in GROUPING),
                *(f"summary:{metric}" for metric in FINAL),
            ]
        ),
    )


def build_wandb_report(report: "Report", tables: "list[Table]", entity: str, project: str) -> Any:
    """Build the report: every table as it stands in ours, then panels of the runs."""
    import wandb_workspaces.reports.v2 as wr

    from sslbench.tables.render import to_markdown

    return wr.Report(
        entity=entity,
        project=project,
        title="sslbench: ours beside the paper's",
        description=f"Tables of {report.generated}, by python -m sslbench.dashboard",
        width="fluid",
        blocks=[
            wr.TableOfContents(),
            *(wr.MarkdownBlock(to_markdown(table)) for table in tables),
            wr.H2("Runs"),
            wr.PanelGrid(
                # Without a project of its own a run set is of the report's, with no look-up.
                runsets=[wr.Runset(name="Runs", groupby=[f"config.{key}" for key in GROUPING])],
                panels=[
                    *_final_panels(),
                    *(panel for metrics in CURVES.values() for panel in _curve_panels(metrics)),
                    *_media_panels(),
                ],
            ),
        ],
    )


def _nested(key: str) -> str:
    """Return how W&B names a key of nested settings: its first part holds a `value`."""
    first, rest = key.split(".", 1)
    return f"{first}.value.{rest}"


def _curve_panels(metrics: tuple[str, ...]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.LinePlot(title=metric, x="step", y=[metric]) for metric in metrics]


def _final_panels() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    bars = [
        wr.BarPlot(
            title=f"test/accuracy by {key}",
            metrics=["test/accuracy"],
            groupby=wr.Config(key),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for key in GROUPING[:3]
    ]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key)) for key in GROUPING[:3]]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric("test/accuracy")))
    return [*bars, wr.ParallelCoordinatesPlot(columns=columns)]


def _media_panels() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.MediaBrowser(title=key, media_keys=[key], num_columns=3) for key in MEDIA]


def write_dashboard(report: "Report", tables: "list[Table]", entity: str, project: str) -> Path:
    """Write what would be saved as JSON below the report's folder, and return where."""
    from sslbench.atomic import write_json

    models = {
        "workspace": build_workspace(entity, project),
        "report": build_wandb_report(report, tables, entity, project),
    }
    contents = {
        # There is no public way to see a workspace without saving it.
        name: json.loads(model._to_model().model_dump_json(by_alias=True, exclude_none=True))
        for name, model in models.items()
    }
    contents["tables"] = {table.name: _rows(table) for table in tables}
    path = report.folder / JSON_NAME
    write_json(path, contents)
    return path


def save_dashboard(report: "Report", tables: "list[Table]", entity: str, project: str) -> bool:
    """Save the workspace and the report on W&B and print where; False where W&B refuses."""
    saved = True
    for name, model in (
        ("workspace", build_workspace(entity, project)),
        ("report", build_wandb_report(report, tables, entity, project)),
    ):
        try:
            print(f"{name}: {model.save().url}")
        except Exception as error:  # of any kind: network, rights, a changed server
            print(f"sslbench: W&B did not save the {name}: {error}", file=sys.stderr)
            saved = False
    return saved


def log_tables(tables: "list[Table]", entity: str | None, project: str, folder: Path) -> bool:
    """Log tables to the project's one summary run; False where W&B refuses."""
    from sslbench.config.settings import Tracking
    from sslbench.tracking import start_run

    run = start_run(
        Tracking(entity=entity, project=project, group=SUMMARY_RUN),
        folder,
        id=SUMMARY_RUN,
        name=SUMMARY_RUN,
        job_type=SUMMARY_RUN,
        tags=[SUMMARY_RUN],
    )
    if run is None:
        return False
    import wandb

    offline, place = run.offline, Path(run.dir).parent
    try:
        run.log({f"tables/{table.name}": wandb.Table(**_rows(table)) for table in tables})
        run.finish()
    except Exception as error:
        print(f"sslbench: W&B did not take the tables: {error}", file=sys.stderr)
        return False
    print(f"to upload the summary run: wandb sync {place}" if offline else f"summary: {run.url}")
    return True


def _rows(table: "Table") -> dict[str, list]:
    """Return a table's columns and rows as they are shown: texts."""
    frame = table.frame.astype(object).where(table.frame.notna(), "")
    return {
        "columns": [str(column) for column in frame.columns],
        "data": [[str(value) for value in row] for row in frame.itertuples(index=False)],
    }


if __name__ == "__main__":
    main()
