"""Someone's own experiment: cells of one method that differ in settings, against a base line."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sslbench.cell.record import Changes, flatten
from sslbench.tables import paper
from sslbench.tables.compare import Predictions, SeedVariance, compare
from sslbench.tables.contents import Ablation
from sslbench.tables.groups import MIN_SEEDS, Group, row_order, slug, written
from sslbench.tables.judge import with_correction
from sslbench.tables.paper import TEST, TRAIN, VAL, Row
from sslbench.tables.sentences import difference_in_words, seeds_in_words
from sslbench.tables.statistics import Difference
from sslbench.tables.summaries import summarize


class Variant(NamedTuple):
    """A row of a group whose settings are one line of an ablation."""

    group: Group
    row: Row


def find_ablations(groups: list[Group], predictions: Predictions) -> list[Ablation]:
    """Return one for each data set and method whose cells differ in more than row and seed."""
    found = []
    for images, method in dict.fromkeys((_images(g), row.method) for g in groups for row in g.rows):
        of_data = [group for group in groups if _images(group) == images]
        counts = Counter(row for group in of_data for row in group.rows)
        rows = {row for row in counts if row.method == method and counts[row] > 1}
        variants = [Variant(g, row) for g in of_data for row in g.rows if row in rows]
        found += [_ablation(variants, predictions)] if variants else []
    return found


def _images(group: Group) -> tuple[str, Any]:
    """Return what tells a group's images from others: sets of one name may differ."""
    return group.data, group.changes.get("data.fingerprint")


def _ablation(variants: list[Variant], predictions: Predictions) -> Ablation:
    changes = [group.changes for group, _ in variants]
    keys = sorted({key for each in changes for key in each})
    keys = [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]

    def order(variant: Variant) -> tuple:
        mine = {key: value for key, value in variant.group.changes.items() if key in keys}
        return row_order(variant.row), len(mine), _in_order(mine)

    variants = sorted(variants, key=order)
    lines: list[dict] = []
    for _, of_row in groupby(variants, key=lambda variant: variant.row):
        lines += _against_base(list(of_row), keys, predictions)
    values = pd.DataFrame(lines)
    of_metric = [values[values["metric"] == metric.title] for metric in (TRAIN, VAL, TEST)]
    corrected = pd.concat(map(with_correction, of_metric)).sort_index()
    row = variants[0].row
    title = f"{paper.title(row.method)} on {variants[0].group.data_title}, by {', '.join(keys)}"
    data, fingerprint = _images(variants[0].group)
    end = f" {str(fingerprint)[:8]}" if fingerprint else ""
    name = f"ablation-{slug(f'{data} {row.method}{end}')}"
    return Ablation(name, f"Ablation: {title}", tuple(keys), corrected, _sentence(corrected, keys))


def _against_base(
    variants: list[Variant], keys: list[str], predictions: Predictions
) -> Iterator[dict]:
    """Yield a row's lines; the first, with the fewest settings changed, is the base line."""
    cells = [group.done(row) for group, row in variants]
    variance = SeedVariance(cells, paired=True)
    for (group, row), mine in zip(variants, cells, strict=True):
        some = next(iter(group.rows[row].values()))
        settings = flatten(some.record.settings)
        texts = {
            key: "none" if settings.get(key) is None else written(settings[key]) for key in keys
        }
        for metric in (TRAIN, VAL, TEST):
            found = summarize(row, group.rows[row].values(), metric, variance)
            is_base = mine is cells[0]
            tested = None if is_base else compare(mine, cells[0], metric, predictions, variance)
            yield found | texts | {"is_base": is_base} | _columns(tested)


def _columns(tested: Difference | None) -> dict:
    """Return a difference from the base line as columns; the base line has none."""
    names = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
    names |= {"interval_of": "difference_of", "p": "p", "test": "test"}
    if tested is None:
        return dict.fromkeys(names.values(), np.nan) | {"difference_of": None, "test": None}
    return {name: getattr(tested, key) for key, name in names.items()}


def _sentence(values: pd.DataFrame, keys: list[str]) -> str:
    """Say which line's test accuracy is farthest from its base line's, and if it surely is."""
    of_test = values[values["metric"] == TEST.title]
    tested = of_test.dropna(subset="difference")
    if tested.empty:
        return f"NO DATA: the base line has no finished cell, or is the only one, by {keys}"
    significant = tested[tested["sign"] != 0]
    shown = significant if len(significant) else tested
    far = shown.loc[shown["difference"].abs().idxmax()]
    base = of_test[of_test["is_base"] & (of_test["model"] == far["model"])].iloc[0]
    changed = ", ".join(f"{key}={far[key]}" for key in keys if far[key] != base[key])
    bases = ", ".join(str(base[key]) for key in keys if far[key] != base[key])
    words = difference_in_words(
        f"{paper.title(far['model'])} with {changed} > the base line ({bases})",
        *far[["difference", "difference_low", "difference_high", "metric", "difference_of"]],
    )
    seeds = seeds_in_words([int(far["n"]), int(base["n"])])
    if not len(significant):
        return f"NO DIFFERENCE is significant on {seeds}; the largest: {words}"
    head = "DIFFERENT" if min(far["n"], base["n"]) >= MIN_SEEDS else "LEANS"
    return f"{head} on {seeds}, {len(significant)} of {len(tested)} differences: {words}"


def _in_order(changes: Changes) -> list[tuple[str, float, str]]:
    """Return what sorts changes by key, then numbers by their value, and all else after them."""
    number = {key: value for key, value in changes.items() if isinstance(value, int | float)}
    return [(key, number.get(key, np.inf), str(changes[key])) for key in sorted(changes)]
