"""The report's tables: the paper's four beside ours, other methods', ablations and verdicts."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from sslbench.tables import paper
from sslbench.tables.claims import RULES, Claim, format_p
from sslbench.tables.commands import Commands
from sslbench.tables.contents import Table
from sslbench.tables.groups import Group, flatten, is_ablation, row_order, slug, written
from sslbench.tables.paper import BARLOW, KNN, SEMI, SUPERVISED, TEST, TRAIN, TRAIN_LOSS, VAL, Row
from sslbench.tables.summary import show, summarize

NOTE = (
    "Accuracies in percent. Ours: mean ± standard deviation over n seeds, with Student's 95 % "
    "interval of the mean; * one seed, or seeds alike: Wilson's interval over the images. Val and "
    "test: weights chosen on validation images, images as they are; train: as training saw them."
)
PAPER_NOTE = " Difference: ours minus the paper's, in points (loss: as it is)."
OTHER_NOTE = " Not comparable with the paper's numbers."
CODE_NOTE = " Its cells were trained by {} versions of the code (`versions.code`)."
TESTS_NOTE = (
    "Differences in points. Paired over three or more common seeds, else over the same images of "
    "one or two; the paper's own numbers as independent shares of 6,400 test, 1,600 validation and "
    "5,000 training images. With three seeds the corrected test decides only large differences; "
    "a test over images speaks of the weights at hand, not of other seeds."
)
METRICS = (TRAIN, VAL, TRAIN_LOSS, TEST)
NO_METRIC = paper.Metric("", "test")
"""Of rows without a finished cell, beside which nothing of the paper's stands."""


class Design(NamedTuple):
    """What a table is to show: the paper's rows, then a group's own."""

    name: str
    title: str
    reported: paper.Reported
    own: list[Row]
    metrics: tuple[paper.Metric, ...] = METRICS


def build_tables(groups: list[Group], outputs: str) -> list[Table]:
    """Return the tables of each group, then the ablations.

    Cells in the paper's settings get all its tables, others those with cells no table before has.
    """
    tables = []
    commands = Commands(groups, outputs)
    for group in groups:
        covered: set[Row] = set()
        for design in () if is_ablation(group, groups) else _designs(group):
            if group.is_paper or not covered.issuperset(design.own):
                rows = list(dict.fromkeys([*design.reported, *design.own]))
                tables.append(_table(design, rows, group, commands))
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


def _table(design: Design, rows: list[Row], group: Group, commands: Commands) -> Table:
    values = pd.DataFrame(
        summarize(group, row, metric, design.reported)
        for row in rows
        for metric in (design.metrics if group.is_paper or group.done(row) else (NO_METRIC,))
    )
    num_codes = len({cell.code for row in rows for cell in group.done(row).values()} - {""})
    note = NOTE + (PAPER_NOTE if group.is_paper else OTHER_NOTE)
    return Table(
        name=design.name if group.is_paper else f"{design.name}-{slug(group.title)}",
        title=f"{design.title} ({group.title})",
        note=note + (CODE_NOTE.format(num_codes) if num_codes > 1 else ""),
        frame=show(values, beside_paper=group.is_paper),
        values=values,
        commands=[command for row in rows if (command := commands.fill(group, row))],
    )


def _ablation_tables(groups: list[Group]) -> list[Table]:
    """Return a table per data set and method whose cells differ in more than row and seed."""
    tables = []
    for data, method in dict.fromkeys((g.data, row.method) for g in groups for row in g.rows):
        of_data = [group for group in groups if group.data == data]
        counts = Counter(row for group in of_data for row in group.rows)
        places = [(group, row) for group in of_data for row in group.rows if counts[row] > 1]
        places = [(group, row) for group, row in places if row.method == method]
        tables += [_ablation_table(places)] if places else []
    return tables


def _ablation_table(places: list[tuple[Group, Row]]) -> Table:
    changes = [group.changes for group, _ in places]
    keys = sorted({key for each in changes for key in each})
    keys = [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]
    order = sorted(places, key=lambda p: (row_order(p[1]), len(p[0].changes), str(p[0].changes)))
    lines = []
    for group, row in order:
        settings = flatten(next(iter(group.rows[row].values())).settings)
        found = {key: settings.get(key) for key in keys}
        found = {key: "none" if each is None else written(each) for key, each in found.items()}
        lines += [summarize(group, row, each, {}) | found for each in (TRAIN, VAL, TEST)]
    values = pd.DataFrame(lines)
    shown = show(values)
    by_metric = dict(iter(shown.groupby("metric")))
    frame = by_metric[TEST.title].drop(columns=["metric", "ours"])
    frame = frame.rename(columns={"95 % interval": "95 % interval (test)"})
    added = {key: values.loc[frame.index, key] for key in keys}
    added |= {each.title: by_metric[each.title]["ours"].to_list() for each in (TRAIN, VAL, TEST)}
    for name, column in added.items():
        frame.insert(len(frame.columns) - 3, name, column)
    group, row = places[0]
    title = f"{paper.method_title(row.method)} on {group.data_title}, by {', '.join(keys)}"
    name = f"ablation-{slug(f'{group.data} {row.method}')}"
    return Table(name, f"Ablation: {title}", NOTE, frame, values)


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
        | {"effect size": f"{each.effect_size:+.2f} ({each.effect})", "test": each.test}
        | {"p": format_p(each.p).removeprefix("= ")}
        | {"corrected p": format_p(each.p_corrected).removeprefix("= ")}
        for each in values.itertuples()
    )
    return [
        Table("claims", "The paper's claims", RULES, verdicts, verdicts),
        Table("claims-tests", "The tests behind the verdicts", TESTS_NOTE, shown, values),
    ]
