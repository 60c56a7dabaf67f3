"""The report's tables: the paper's four beside ours, and every ablation that the cells form."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sslbench.cell.record import DONE
from sslbench.tables import paper, statistics
from sslbench.tables.changes import override_value
from sslbench.tables.claims import ClaimResult, format_p
from sslbench.tables.contents import Table
from sslbench.tables.groups import (
    DATA_TITLES,
    MIN_SEEDS,
    Entry,
    Group,
    flat_settings,
    is_ablation,
    row_order,
    slug,
)
from sslbench.tables.paper import (
    BARLOW,
    FULL_RATIO,
    KNN,
    METRIC_TITLES,
    MODEL_TITLES,
    MODELS,
    RATIOS,
    SEMI,
    SUPERVISED,
    TEST,
    TRAIN,
    TRAIN_LOSS,
    VAL,
    Figures,
    Metric,
    Row,
)

NOTE = (
    "Accuracies in percent. Ours: mean ± standard deviation over n seeds, with Student's 95 % "
    "interval of the mean; * one seed, or seeds alike: Wilson's interval over the images. Val and "
    "test: weights chosen on validation images, images as they are; train: as training saw them."
)
PAPER_NOTE = " Difference: ours minus the paper's, in points (loss: as it is)."
OTHER_NOTE = " Not comparable with the paper's figures."


@dataclass(frozen=True)
class Design:
    """One of the paper's tables: which rows, which figures."""

    name: str
    title: str
    rows: tuple[Row, ...]
    """What the paper has; other models and ratios that were run are added."""
    admits: Callable[[Row], bool]
    metrics: tuple[Metric, ...]
    figures: Figures


DESIGNS = (
    Design(
        "table1",
        "Table 1: supervised",
        tuple(paper.TABLE_1),
        lambda row: row.method == SUPERVISED,
        (TRAIN, VAL, TRAIN_LOSS, TEST),
        paper.TABLE_1,
    ),
    Design(
        "table2",
        "Table 2: self-supervised, linear probe",
        tuple(paper.TABLE_2),
        lambda row: row.method == BARLOW,
        (TRAIN, VAL, TRAIN_LOSS, TEST, KNN),
        paper.TABLE_2,
    ),
    Design(
        "table3",
        "Table 3: semi-supervised",
        tuple(paper.TABLE_3),
        lambda row: row.method == SEMI and row.ratio == FULL_RATIO and row.init is None,
        (TRAIN, VAL, TRAIN_LOSS, TEST),
        paper.TABLE_3,
    ),
    Design(
        "table4",
        "Table 4: semi-supervised, labelled : unlabelled",
        tuple(Row(SEMI, model, ratio) for model in MODELS for ratio in RATIOS),
        lambda row: row.method == SEMI and row.init is None,
        (TRAIN, VAL),
        paper.TABLE_4,
    ),
    Design(
        "ssl_init",
        "Semi-supervised from self-supervised weights",
        tuple(Row(SEMI, model, FULL_RATIO, BARLOW) for model in MODELS),
        lambda row: row.method == SEMI and row.init is not None,
        (TRAIN, VAL, TRAIN_LOSS, TEST),
        {},
    ),
)


def _design_of(method: str) -> Design:
    """Return the table of a method that the paper has not."""
    metrics = (TRAIN, VAL, TRAIN_LOSS, TEST)
    return Design(method, f"By {method}", (), lambda row: row.method == method, metrics, {})


def build_tables(groups: list[Group], outputs: str) -> list[Table]:
    """Return the tables of each group, then the ablations.

    Cells in the paper's settings get all its tables, others those with cells no table before has.
    """
    tables = []
    for group in groups:
        if is_ablation(group, groups):
            continue
        covered: set[Row] = set()
        for design in DESIGNS:
            rows = _rows_of(design, group)
            if group.is_paper or any(row in group.rows for row in rows if row not in covered):
                tables.append(_design_table(design, rows, group, outputs))
                covered.update(rows)
        for method in sorted({row.method for row in group.rows if row not in covered}):
            design = _design_of(method)
            tables.append(_design_table(design, _rows_of(design, group), group, outputs))
    return tables + ablation_tables(groups)


def _code_note(group: Group, rows: list[Row]) -> str:
    """Say so where rows hold cells that different code has trained."""
    done = [entry.cell.record for row in rows for entry in group.done(row).values()]
    digests = {record.runtime.get("versions", {}).get("code") for record in done} - {None}
    if len(digests) < 2:
        return ""
    return f" Its cells were trained by {len(digests)} versions of the code (`versions.code`)."


def _rows_of(design: Design, group: Group) -> list[Row]:
    rows = list(design.rows)
    others = [row for row in group.rows if design.admits(row) and row not in rows]
    return rows + sorted(others, key=row_order)


def _design_table(design: Design, rows: list[Row], group: Group, outputs: str) -> Table:
    shown, values = [], []
    for row in rows:
        in_full = group.is_paper or group.done(row)
        for metric in design.metrics if in_full else design.metrics[:1]:
            figure = summarize(group, row, metric, design.figures)
            figure["figure"] = figure["figure"] if in_full else ""
            values.append(figure)
            shown.append(_display(figure, metric, is_paper=group.is_paper))
    frame = pd.DataFrame(shown)
    for name in ("ratio", "from"):
        if frame[name].nunique() <= 1:
            frame = frame.drop(columns=name)
    commands = [command for row in rows if (command := group.command(row, outputs)) is not None]
    return Table(
        name=design.name if group.is_paper else f"{design.name}-{slug(group.title)}",
        title=f"{design.title} ({group.title})",
        note=NOTE + (PAPER_NOTE if group.is_paper else OTHER_NOTE) + _code_note(group, rows),
        frame=frame,
        values=pd.DataFrame(values),
        commands=commands,
    )


def summarize(
    group: Group, row: Row, metric: Metric, figures: Figures | None = None
) -> dict[str, Any]:
    """Return one figure of a row over its seeds, as numbers, beside the paper's where there is one.

    The paper's is None for groups that may not be set against it.
    """
    done = group.done(row)
    found = [value for entry in done.values() if (value := entry.value(metric)) is not None]
    mean, deviation, low, high, interval = _spread(found, list(done.values()), metric)
    reported = (figures or {}).get(row, {}).get(metric) if group.is_paper else None
    compared = reported is not None and mean is not None
    return {
        "model": row.model,
        "method": row.method,
        "ratio": row.ratio,
        "from": row.init,
        "figure": METRIC_TITLES[metric],
        "paper": reported,
        "mean": mean,
        "deviation": deviation,
        "low": low,
        "high": high,
        "interval": interval,
        "difference": mean - reported if compared else None,
        "n": len(found),
        "state": state_text(group, row),
    }


def _spread(
    found: list[float], entries: list[Entry], metric: Metric
) -> tuple[float | None, float | None, float | None, float | None, str | None]:
    """Return mean, standard deviation, bounds of the interval and its kind."""
    if not found:
        return None, None, None, None, None
    mean = float(np.mean(found))
    deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
    # Accuracies that are all alike, by the coarseness of few images, show no certainty.
    if len(set(found)) > 1 or (len(found) > 1 and metric.name == "loss"):
        low, high = statistics.t_interval(found)
        if metric.name != "loss":  # few seeds may lead beyond what a share can be
            low, high = max(low, 0.0), min(high, 1.0)
        return mean, deviation, low, high, "t"
    if metric.name == "loss":
        return mean, None, None, None, None
    split = metric.name if metric.split == "knn" else metric.split
    interval = statistics.wilson_interval(mean, entries[0].num_images(split))
    return mean, deviation, *interval, "Wilson"


def state_text(group: Group, row: Row) -> str:
    """Say what is wrong with a row's cells: missing, n<3, or states other than done; else done."""
    states = group.states(row)
    if not states:
        return "missing"
    parts = ["done" if states[DONE] >= MIN_SEEDS else f"n<{MIN_SEEDS}"] if states[DONE] else []
    return ", ".join(
        parts + [f"{n} {state}" for state, n in sorted(states.items()) if state != DONE]
    )


def _display(figure: dict[str, Any], metric: Metric, *, is_paper: bool) -> dict[str, Any]:
    is_loss = metric.name == "loss"
    shown = {
        "model": MODEL_TITLES.get(figure["model"], figure["model"]),
        "ratio": figure["ratio"] or "",
        "from": figure["from"] or "",
        "figure": figure["figure"],
    }
    if is_paper:
        shown["paper"] = _number(figure["paper"], is_loss)
    shown["ours"] = _mean_text(figure["mean"], figure["deviation"], is_loss)
    shown["95 % interval"] = _interval_text(figure, is_loss)
    if is_paper:
        difference = figure["difference"]
        shown["difference"] = "" if difference is None else _number(difference, is_loss, "+")
    return shown | {"n": figure["n"], "state": figure["state"]}


def _number(value: float | None, is_loss: bool, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.2f}" if is_loss else f"{100 * value:{sign}.2f}"


def _mean_text(mean: float | None, deviation: float | None, is_loss: bool = False) -> str:
    if mean is None or deviation is None:
        return _number(mean, is_loss)
    return f"{_number(mean, is_loss)} ± {_number(deviation, is_loss)}"


def _interval_text(figure: dict[str, Any], is_loss: bool = False) -> str:
    if figure["low"] is None:
        return ""
    mark = "*" if figure["interval"] == "Wilson" else ""
    return f"[{_number(figure['low'], is_loss)}, {_number(figure['high'], is_loss)}]{mark}"


def ablation_tables(groups: list[Group]) -> list[Table]:
    """Return a table per data set and method whose cells differ in more than row and seed."""
    tables = []
    for data, method in dict.fromkeys((g.data, row.method) for g in groups for row in g.rows):
        places = [
            (group, row)
            for group in groups
            if group.data == data
            for row in group.rows
            if row.method == method
        ]
        rows = [row for _, row in places]
        places = [(group, row) for group, row in places if rows.count(row) > 1]
        if places:
            tables.append(_ablation_table(data, method, places))
    return tables


def _ablation_table(data: str, method: str, places: list[tuple[Group, Row]]) -> Table:
    keys = varying_keys(group for group, _ in places)
    shown, values = [], []
    for group, row in sorted(places, key=_place_order):
        settings = flat_settings(next(iter(group.rows[row].values())))
        where = {
            key: "none" if settings.get(key) is None else override_value(settings[key])
            for key in keys
        }
        line: dict[str, Any] = {
            "model": MODEL_TITLES.get(row.model, row.model),
            "ratio": row.ratio or "",
            "from": row.init or "",
        } | where
        for metric in (TRAIN, VAL, TEST):
            figure = summarize(group, row, metric)
            values.append(figure | where)
            line[METRIC_TITLES[metric]] = _mean_text(figure["mean"], figure["deviation"])
        line["95 % interval (test)"] = _interval_text(figure)
        shown.append(line | {"n": figure["n"], "state": figure["state"]})
    frame = pd.DataFrame(shown)
    constant = [name for name in ("ratio", "from") if frame[name].nunique() <= 1]
    method_title = paper.METHOD_TITLES.get(method, method)
    data_title = DATA_TITLES.get(data, data)
    return Table(
        name=f"ablation-{slug(f'{data} {method}')}",
        title=f"Ablation: {method_title} on {data_title}, by {', '.join(keys)}",
        note=NOTE,
        frame=frame.drop(columns=constant),
        values=pd.DataFrame(values),
    )


def _place_order(place: tuple[Group, Row]) -> tuple:
    group, row = place
    return row_order(row), len(group.changes), str(group.changes)


def varying_keys(groups: Iterable[Group]) -> list[str]:
    """Return the settings that tell groups apart."""
    changes = [group.changes for group in groups]
    keys = sorted({key for each in changes for key in each})
    return [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]


def claim_tables(claims: list[ClaimResult]) -> list[Table]:
    """Return the verdicts, and each comparison with its test, as tables."""
    verdicts = pd.DataFrame(
        {
            "claim": f"{claim.number}. {claim.claim}",
            "on": claim.group,
            "verdict": claim.verdict,
            "why": claim.sentence,
        }
        for claim in claims
    )
    values = pd.DataFrame(
        {"claim": claim.number, "on": claim.group} | vars(comparison)
        for claim in claims
        for comparison in claim.comparisons
    )
    shown = pd.DataFrame(
        {
            "claim": claim.number,
            "on": claim.group,
            "comparison": each.name,
            "figure": each.metric,
            "difference": f"{100 * each.difference:+.2f}",
            "95 % interval": f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]",
            "effect size": f"{each.effect_size:+.2f} ({each.effect})",
            "test": each.test,
            "p": format_p(each.p).removeprefix("= "),
            "corrected p": format_p(each.p_corrected).removeprefix("= "),
        }
        for claim in claims
        for each in claim.comparisons
    )
    return [
        Table("claims", "The paper's claims", CLAIMS_NOTE, verdicts, verdicts),
        Table("claims-tests", "The tests behind the verdicts", TESTS_NOTE, shown, values),
    ]


CLAIMS_NOTE = (
    "Holds: every comparison is significantly positive (5 %, Holm-corrected over all comparisons "
    "of the seven claims). Contradicted: any is significantly negative. Undecided: else. Claim 7 "
    "holds if every improvement's upper 95 % bound is below one point."
)
TESTS_NOTE = (
    "Differences in points. Paired over three or more common seeds, else over the same images of "
    "one or two; the paper's own figures as independent shares of 6,400 test, 1,600 validation and "
    "5,000 training images. With three seeds the corrected test decides only large differences; "
    "a test over images speaks of the weights at hand, not of other seeds."
)
