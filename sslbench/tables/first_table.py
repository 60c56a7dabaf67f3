"""The report's first table: kinds of learning by models, the paper's figures beside ours."""

from itertools import groupby, pairwise

from sslbench import paper
from sslbench.paper import BARLOW, SUPERVISED, TEST, VAL, Metric, Row
from sslbench.tables.compare import SeedVariance
from sslbench.tables.contents import FirstTable, Line, Place
from sslbench.tables.groups import Group, unlabeled_per_labeled
from sslbench.tables.summaries import or_none, summarize

REPORTED = paper.TABLE_1 | paper.TABLE_2 | paper.TABLE_3
ROUNDED = 3
"""Decimals in which accuracies that agree are in no order."""


def first_table(group: Group) -> FirstTable:
    """Return the test accuracies of a group's models by kind of learning, at one ratio each.

    In the paper's settings what it reports has a line, where we have no cells of that kind, too.
    """
    ours = {_ways(row)[:3] for row in group.rows}
    theirs = [row for row in REPORTED if _ways(row)[:3] not in ours] if group.is_paper else []
    rows = sorted([*group.rows, *theirs], key=lambda row: _ways(row))
    lines = [list(of_way) for _, of_way in groupby(rows, key=lambda row: _ways(row)[:3])]
    models = list(dict.fromkeys([*paper.MODELS, *(row.model for row in group.rows)]))
    used = {row.model for row in group.rows} | (set(paper.MODELS) if group.paper_heading else set())
    models = [model for model in models if model in used]
    variance = SeedVariance(group.done(row) for row in group.rows)
    return FirstTable(
        group.title,
        group.paper_heading,
        tuple(map(paper.title, models)),
        tuple(_line(group, of_way, models, variance) for of_way in lines),
    )


def _ways(row: Row) -> tuple:
    """Sort rows by method as the paper does, then by what they start from, its ratio last."""
    known = [*paper.METHODS, row.method]
    preference = row.ratio == paper.FULL_RATIO, unlabeled_per_labeled(row.ratio)
    return known.index(row.method), row.method, row.init or "", *preference


def _line(group: Group, rows: list[Row], models: list[str], variance: SeedVariance) -> Line:
    """Return one kind of learning; of several ratios the paper's, else the last, is the one.

    One without a finished cell is not, where another has some.
    """
    shown = ([row for row in rows if group.done(row)] or rows)[-1]
    method, ratio, init = shown.method, shown.ratio, shown.init
    at = {model: Row(method, model, ratio, init) for model in models}
    paper_metric = VAL if method == BARLOW else TEST
    places = [_place(group, row, paper_metric, variance) for row in at.values()]
    ours = {place.model: place.ours for place in places if place.ours is not None}
    best = max(ours.values(), default=None)
    places = [
        place._replace(is_best=place.ours is not None and place.ours == best) for place in places
    ]
    theirs = {place.model: place.paper for place in places if place.paper is not None}
    kind = " ".join(
        [paper.title(method)]
        + ([ratio] if ratio and method not in (SUPERVISED, BARLOW) else [])
        + ([f"from {paper.title(init)}"] if init else [])
    )
    orders = _order(theirs), _order(ours) if group.beside_paper else ""
    return Line(kind, paper_metric.title, TEST.title, tuple(places), *orders)


def _place(group: Group, row: Row, paper_metric: Metric, variance: SeedVariance) -> Place:
    theirs = REPORTED.get(row, {}).get(paper_metric) if group.paper_heading else None
    found = summarize(row, group.rows.get(row, {}).values(), TEST, variance)
    return Place(
        model=paper.title(row.model),
        paper=theirs,
        ours=or_none(found["mean"]),
        low=or_none(found["low"]),
        high=or_none(found["high"]),
        interval_of=found["interval_of"],
        num_seeds=found["n"],
        is_best=False,
        collapsed=tuple(filter(None, found["collapsed"].split("; "))),
    )


def _order(accuracies: dict[str, float]) -> str:
    """Write models from the best by their first letters, `W>R>C`; `=` where accuracies agree."""
    if len(accuracies) < 2:
        return ""
    names = sorted(accuracies, key=accuracies.get, reverse=True)
    initials = {name[0] for name in names}
    short = {name: name[0] if len(initials) == len(names) else name for name in names}
    text = short[names[0]]
    for before, name in pairwise(names):
        is_same = round(accuracies[before] - accuracies[name], ROUNDED) == 0
        text += f"{'=' if is_same else '>'}{short[name]}"
    return text
