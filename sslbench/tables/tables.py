"""The report's tables: the paper's four beside ours, other methods', ablations and verdicts."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench.cell.record import DONE, Changes, flatten
from sslbench.tables import paper, statistics
from sslbench.tables.claims import RULES, Claim, format_p
from sslbench.tables.commands import fill
from sslbench.tables.contents import Table
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS, Group, is_ablation, row_order, slug, written
from sslbench.tables.paper import BARLOW, KNN, SEMI, SUPERVISED, TEST, TRAIN, TRAIN_LOSS, VAL, Row

NOTE = (
    "Accuracies in percent. Ours: mean ± standard deviation over n seeds, with Student's 95 % "
    "interval of the mean; * one seed, or seeds alike: Wilson's interval over the images."
)
OTHER_NOTE = " Not comparable with the paper's numbers."
CODE_NOTE = " Its cells were trained by {} versions of the code (`versions.code`)."
TESTS_NOTE = (
    "Differences in points. Paired over three or more common seeds, else over the images of one; "
    "the paper's own numbers, and training accuracies of one seed, as independent shares."
)
METRICS = (TRAIN, VAL, TRAIN_LOSS, TEST)


class Design(NamedTuple):
    """What a table is to show: the paper's rows, then a group's own."""

    name: str
    title: str
    reported: paper.Reported
    own: list[Row]
    metrics: tuple[paper.Metric, ...] = METRICS


def build_tables(groups: list[Group], outputs: str) -> list[Table]:
    """Return each group's tables that hold new cells, all of the paper's, and the ablations."""
    tables = []
    for group in groups:
        covered: set[Row] = set()
        for design in () if is_ablation(group, groups) else _designs(group):
            if group.is_paper or not covered.issuperset(design.own):
                rows = list(dict.fromkeys([*design.reported, *design.own]))
                tables.append(_table(design, rows, group, outputs))
                covered.update(design.own)
    return tables + _ablation_tables(groups)


def _designs(group: Group) -> Iterator[Design]:
    """Yield the paper's tables, and one for each method that the paper does not have."""

    def of(method: str) -> list[Row]:
        return sorted((row for row in group.rows if row.method == method), key=row_order)

    semi = [row for row in of(SEMI) if row.init is None]
    full = [row for row in semi if row.ratio == paper.FULL_RATIO]
    started = [row for row in of(SEMI) if row.init is not None]
    with_knn, table4 = (*METRICS, KNN), "Table 4: semi-supervised, labelled : unlabelled"
    yield Design("table1", "Table 1: supervised", paper.TABLE_1, of(SUPERVISED))
    title = "Table 2: self-supervised, linear probe"
    yield Design("table2", title, paper.TABLE_2, of(BARLOW), with_knn)
    yield Design("table3", "Table 3: semi-supervised", paper.TABLE_3, full)
    yield Design("table4", table4, paper.TABLE_4, semi, (TRAIN, VAL))
    starts = {row._replace(init=BARLOW): {} for row in paper.TABLE_3}
    yield Design("ssl_init", "Semi-supervised from self-supervised weights", starts, started)
    for method in sorted({row.method for row in group.rows} - set(paper.METHODS)):
        has_knn = any("knn" in c.record.results for c in group.cells() if c.method == method)
        metrics = with_knn if has_knn else METRICS
        yield Design(slug(method), f"By {method}", {}, of(method), metrics)


def _table(design: Design, rows: list[Row], group: Group, outputs: str) -> Table:
    values = pd.DataFrame(
        _summarize(group, row, metric, design.reported) for row in rows for metric in design.metrics
    )
    num_codes = len({cell.code for row in rows for cell in group.done(row).values()} - {""})
    note = NOTE + ("" if group.is_paper else OTHER_NOTE)
    return Table(
        name=design.name if group.is_paper else f"{design.name}-{slug(group.title)}",
        title=f"{design.title} ({group.title})",
        note=note + (CODE_NOTE.format(num_codes) if num_codes > 1 else ""),
        frame=_show(values, beside_paper=group.is_paper),
        values=values,
        commands=[command for row in rows if (command := fill(group, row, outputs))],
    )


def _summarize(group: Group, row: Row, metric: paper.Metric, reported: paper.Reported) -> dict:
    """Return the columns of a CSV file for one metric of a row: accuracies are fractions."""
    cells = list(group.done(row).values())
    found = [value for cell in cells if (value := cell.value(metric)) is not None]
    mean = np.mean(found) if found else np.nan
    theirs = reported.get(row, {}).get(metric, np.nan) if group.is_paper else np.nan
    low, high, kind = _interval(found, cells, metric)
    return {
        **{"model": row.model, "method": row.method, "ratio": row.ratio, "from": row.init},
        **{"metric": metric.title, "paper": theirs, "mean": mean},
        "deviation": np.std(found, ddof=1) if len(found) > 1 else np.nan,
        **{"low": low, "high": high, "interval": kind, "difference": mean - theirs},
        **{"n": len(found), "state": _state(group, row)},
    }


def _interval(found: list[float], cells: list[Cell], metric: paper.Metric) -> tuple:
    """Return the bounds of an interval and its kind: `t` over seeds, `Wilson` over images."""
    if metric == TRAIN_LOSS:
        return (*statistics.t_interval(found), "t") if len(found) > 1 else (np.nan, np.nan, None)
    # Accuracies that are all alike, by the coarseness of few images, show no certainty.
    if len(set(found)) > 1:  # few seeds may lead beyond what a share can be
        return *np.clip(statistics.t_interval(found), 0, 1), "t"
    if not found:
        return np.nan, np.nan, None
    split = metric.name if metric.split == "knn" else metric.split
    return *statistics.wilson_interval(found[0], cells[0].num_images(split)), "Wilson"


def _state(group: Group, row: Row) -> str:
    """Say what is wrong with a row's cells: missing, n<3, or states other than done; else done."""
    states = Counter(cell.status for cell in group.rows.get(row, {}).values())
    num_done = states.pop(DONE, 0)
    others = [f"{n} {state}" for state, n in sorted(states.items())]
    done = ["done" if num_done >= MIN_SEEDS else f"n<{MIN_SEEDS}"] if num_done else []
    return ", ".join(done + others) or "missing"


def _show(values: pd.DataFrame, *, beside_paper: bool = False) -> pd.DataFrame:
    """Write summaries as texts: accuracies in percent, losses as they are, nothing as a dash."""
    scale = 100.0 - 99 * (values["metric"] == TRAIN_LOSS.title)

    def texts(column: str, sign: str = "", nothing: str = "-") -> pd.Series:
        scaled = scale * values[column]
        return scaled.map(lambda value: nothing if np.isnan(value) else f"{value:{sign}.2f}")

    shown = values[["model", "ratio", "from", "metric"]].fillna("")
    shown["model"] = shown["model"].map(paper.title)
    shown["paper"] = texts("paper")
    deviation = " ± " + texts("deviation")
    shown["ours"] = texts("mean") + deviation.where(values["deviation"].notna(), "")
    # A star marks Wilson's interval.
    star = values["interval"].map({"Wilson": "*"}).fillna("")
    interval = "[" + texts("low") + ", " + texts("high") + "]" + star
    shown["95 % interval"] = interval.where(values["low"].notna(), "")
    shown["difference"] = texts("difference", "+", "")
    shown[["n", "state"]] = values[["n", "state"]]
    constant = [name for name in ("ratio", "from") if shown[name].nunique() <= 1]
    return shown.drop(columns=constant + ([] if beside_paper else ["paper", "difference"]))


def _ablation_tables(groups: list[Group]) -> list[Table]:
    """Return a table per data set and method whose cells differ in more than row and seed."""
    tables = []
    for data, method in dict.fromkeys((g.data, row.method) for g in groups for row in g.rows):
        of_data = [group for group in groups if group.data == data]
        counts = Counter(row for group in of_data for row in group.rows)
        rows = {row for row in counts if row.method == method and counts[row] > 1}
        places = [(group, row) for group in of_data for row in group.rows if row in rows]
        tables += [_ablation_table(places)] if places else []
    return tables


def _ablation_table(places: list[tuple[Group, Row]]) -> Table:
    changes = [group.changes for group, _ in places]
    keys = sorted({key for each in changes for key in each})
    keys = [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]
    places.sort(key=lambda p: (row_order(p[1]), len(p[0].changes), _in_order(p[0].changes)))
    lines = []
    for group, row in places:
        settings = flatten(next(iter(group.rows[row].values())).record.settings)
        found = {key: settings.get(key) for key in keys}
        found = {key: "none" if each is None else written(each) for key, each in found.items()}
        lines += [_summarize(group, row, each, {}) | found for each in (TRAIN, VAL, TEST)]
    values = pd.DataFrame(lines)
    frame = _show(values)
    for key in keys:
        frame.insert(frame.columns.get_loc("metric"), key, values[key])
    title = f"{paper.title(row.method)} on {group.data}, by {', '.join(keys)}"
    name = f"ablation-{slug(f'{group.data} {row.method}')}"
    return Table(name, f"Ablation: {title}", NOTE, frame, values)


def _in_order(changes: Changes) -> list[tuple[str, float, str]]:
    """Return what sorts changes by key, then numbers by their value, and all else after them."""
    number = {key: value for key, value in changes.items() if isinstance(value, int | float)}
    return [(key, number.get(key, np.inf), str(changes[key])) for key in sorted(changes)]


def claim_tables(claims: list[Claim]) -> list[Table]:
    """Return the verdicts, and each comparison with its test, as tables."""
    verdicts = pd.DataFrame(
        {"claim": f"{claim.number}. {claim.text}", "on": claim.group}
        | {"verdict": claim.verdict, "why": claim.sentence}
        for claim in claims
    )
    tested = [claim for claim in claims if len(claim.tests)]
    values = pd.concat([claim.tests.assign(on=claim.group) for claim in tested], ignore_index=True)
    values = values.drop(columns="sign")
    values.insert(1, "on", values.pop("on"))
    shown = pd.DataFrame(
        {"claim": each.claim, "on": each.on, "comparison": each.comparison, "metric": each.metric}
        | {"difference": f"{100 * each.difference:+.2f}"}
        | {"95 % interval": f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]"}
        | {"effect": f"{each.effect_size:+.2f}"}
        | {"test": each.test, "p": format_p(each.p).removeprefix("= ")}
        | {"corrected p": format_p(each.p_corrected).removeprefix("= ")}
        for each in values.itertuples()
    )
    return [
        Table("claims", "The paper's claims", RULES, verdicts, verdicts),
        Table("claims-tests", "The tests behind the verdicts", TESTS_NOTE, shown, values),
    ]
