"""Tables of ablations: what cells of one method come to by the settings that differ."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sslbench.tables.contents import Table
from sslbench.tables.groups import (
    DATA_TITLES,
    Group,
    flat_settings,
    override_value,
    row_order,
    slug,
)
from sslbench.tables.paper import TEST, TRAIN, VAL, Row, method_title, model_title
from sslbench.tables.summary import interval_text, mean_text, summarize

Place = tuple[Group, Row]


def ablation_tables(groups: list[Group], note: str) -> list[Table]:
    """Return a table per data set and method whose cells differ in more than row and seed."""
    tables = []
    for data, method in dict.fromkeys((g.data, row.method) for g in groups for row in g.rows):
        of_data = [(group, row) for group in groups if group.data == data for row in group.rows]
        places = [(group, row) for group, row in of_data if row.method == method]
        rows = [row for _, row in places]
        places = [(group, row) for group, row in places if rows.count(row) > 1]
        if places:
            tables.append(_ablation_table(data, method, places, note))
    return tables


def _ablation_table(data: str, method: str, places: list[Place], note: str) -> Table:
    keys = varying_keys(group for group, _ in places)
    shown, values = [], []
    for group, row in sorted(places, key=_place_order):
        settings = flat_settings(next(iter(group.rows[row].values())))
        where = {
            key: "none" if settings.get(key) is None else override_value(settings[key])
            for key in keys
        }
        summaries = {metric: summarize(group, row, metric) for metric in (TRAIN, VAL, TEST)}
        values += [summary | where for summary in summaries.values()]
        line: dict[str, Any] = {"model": model_title(row.model)}
        line |= {"ratio": row.ratio or "", "from": row.init or ""} | where
        line |= {each.title: mean_text(summaries[each], each) for each in summaries}
        line["95 % interval (test)"] = interval_text(summaries[TEST], TEST)
        shown.append(line | {name: summaries[TEST][name] for name in ("n", "state")})
    frame = pd.DataFrame(shown)
    constant = [name for name in ("ratio", "from") if frame[name].nunique() <= 1]
    title = f"{method_title(method)} on {DATA_TITLES.get(data, data)}, by {', '.join(keys)}"
    return Table(
        name=f"ablation-{slug(f'{data} {method}')}",
        title=f"Ablation: {title}",
        note=note,
        frame=frame.drop(columns=constant),
        values=pd.DataFrame(values),
    )


def _place_order(place: Place) -> tuple:
    group, row = place
    return row_order(row), len(group.changes), str(group.changes)


def varying_keys(groups: Iterable[Group]) -> list[str]:
    """Return the settings that tell groups apart."""
    changes = [group.changes for group in groups]
    keys = sorted({key for each in changes for key in each})
    return [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]
