"""Readings: how far another one than ours moves each metric of the paper's cells."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.paper import TEST, TRAIN, TRAIN_LOSS, VAL, Metric, Row
from sslbench.tables.compare import Predictions, SeedVariance, compare
from sslbench.tables.contents import Ablation, Table
from sslbench.tables.groups import BUDGET, MIN_SEEDS, Group, overrides, row_order, slug
from sslbench.tables.statistics import t_interval

METRICS = (TRAIN, VAL, TEST, TRAIN_LOSS)
OURS = "ours"
DIFFERENCE = ("difference", "low", "high")
MANY_SETTINGS = 3
"""By how many an ablation of one method is more than it."""
NOTE = (
    "Accuracies in percent, means over n seeds. In brackets: the difference from our reading of "
    "the same cell, in points, and its 95 % interval, over seeds and images where both have two "
    "seeds, else over the images of one (train accuracies, and cells without predictions: as "
    "independent shares); of a loss over three or more common seeds. Nothing is corrected for how "
    "many readings there are."
)


class Place(NamedTuple):
    """A row of a group that changes something, and the group that is as it is but for that."""

    group: Group
    base: Group
    row: Row


def is_of_readings(ablation: Ablation) -> bool:
    """Whether an ablation is of one method by many settings: each is a reading of its own."""
    return len(ablation.keys) > MANY_SETTINGS and "method" not in ablation.keys


def reading_tables(groups: list[Group], predictions: Predictions) -> list[Table]:
    """Return a table per group which others differ from in a reading alone.

    What cannot be read is added to the problems of `predictions`.
    """
    tables = []
    for base in groups:
        places = [Place(group, base, row) for group in groups for row in _rows(group, base, groups)]
        if places:
            tables.append(_table(base, places, predictions))
    return tables


def _rows(group: Group, base: Group, groups: list[Group]) -> Iterator[Row]:
    """Yield the rows that both have cells of, if no other group is nearer to the first one."""
    if base in _bases(group, groups)[:1]:
        yield from (row for row in group.rows if group.done(row) and base.done(row))


def _bases(group: Group, groups: list[Group]) -> list[Group]:
    """Return the groups that change less than one, but are of its data and length; nearest first.

    They have all of its settings but for some that are a reading.
    """
    found = []
    for other in groups:
        reading = {key for key in group.changes if key not in other.changes}
        is_part = group.data == other.data and group.changes.items() >= other.changes.items()
        of_length = any(key in BUDGET or key.startswith("data.") for key in reading)
        if is_part and reading and not of_length:
            found.append(other)
    return sorted(found, key=lambda other: -len(other.changes))


def _table(base: Group, places: list[Place], predictions: Predictions) -> Table:
    rows = sorted({place.row for place in places}, key=row_order)
    lines = []
    for row in rows:
        lines += [_line(OURS, row, metric, base, {}) for metric in METRICS]
        for place in sorted((it for it in places if it.row == row), key=_reading):
            for metric in METRICS:
                found = _difference(place, metric, predictions)
                lines.append(_line(_reading(place), row, metric, place.group, found))
    values = pd.DataFrame(lines)
    return Table(
        name=f"readings-{slug(base.title)}",
        title=f"Readings ({base.title})",
        note=NOTE,
        frame=_show(values),
        values=values,
    )


def _reading(place: Place) -> str:
    """Write what a group changes as it is typed."""
    changes, base = place.group.changes, place.base.changes
    return " ".join(overrides({key: it for key, it in changes.items() if key not in base}))


def _difference(place: Place, metric: Metric, predictions: Predictions) -> dict:
    """Return a reading's difference; of a loss, which is no share, over three or more seeds."""
    ours, theirs = place.base.done(place.row), place.group.done(place.row)
    if metric != TRAIN_LOSS:
        variance = SeedVariance([theirs, ours], paired=True)
        found = compare(theirs, ours, metric, predictions, variance)
        return {name: getattr(found, name) for name in DIFFERENCE} if found else {}
    common = sorted(ours.keys() & theirs.keys())
    if len(common) < MIN_SEEDS:
        return {}
    differences = [theirs[seed].value(metric) - ours[seed].value(metric) for seed in common]
    values = float(np.mean(differences)), *t_interval(differences)
    return dict(zip(DIFFERENCE, values, strict=True))


def _line(reading: str, row: Row, metric: Metric, group: Group, difference: dict) -> dict:
    values = [cell.value(metric) for cell in group.done(row).values()]
    return {
        **{"model": row.model, "method": row.method, "ratio": row.ratio, "from": row.init},
        **{"reading": reading, "metric": metric.title},
        **{"mean": np.mean(values), "n": len(values)},
        **difference,
    }


def _show(values: pd.DataFrame) -> pd.DataFrame:
    """Lay out a line per reading of a cell: each metric with its difference."""
    lines = []
    places = ["model", "method", "ratio", "from", "reading"]
    for place, metrics in values.fillna({"ratio": "", "from": ""}).groupby(places, sort=False):
        model, method, ratio, start, reading = place
        line = {"model": paper.title(model), "method": paper.title(method)}
        line |= {"ratio": ratio, "from": start, "reading": reading}
        line |= {each.metric: _text(each) for each in metrics.itertuples()}
        lines.append(line | {"n": metrics["n"].iloc[0]})
    frame = pd.DataFrame(lines)
    constant = [name for name in ("ratio", "from") if frame[name].nunique() <= 1]
    return frame.drop(columns=constant)


def _text(line: tuple) -> str:
    scale = 1 if line.metric == TRAIN_LOSS.title else 100
    shown = f"{scale * line.mean:.2f}"
    if np.isnan(getattr(line, "difference", np.nan)):
        return shown
    interval = f"{scale * line.low:+.2f}, {scale * line.high:+.2f}"
    return f"{shown} ({scale * line.difference:+.2f} [{interval}])"
