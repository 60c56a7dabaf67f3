"""Someone's own experiment: cells of one method that differ in settings, against a base line."""

from collections import Counter
from itertools import groupby

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.cell.record import Changes
from sslbench.paper import TEST
from sslbench.tables.against_base import Variant, against_base, columns_of, corrected, varied_keys
from sslbench.tables.compare import Predictions
from sslbench.tables.contents import Ablation
from sslbench.tables.groups import MIN_SEEDS, Group, row_order, slug
from sslbench.tables.sentences import difference_in_words, listed, seeds_in_words


def find_ablations(groups: list[Group], predictions: Predictions) -> list[Ablation]:
    """Return one for each data set and method whose cells differ in more than row and seed."""
    found = []
    for images, method in dict.fromkeys((g.images, row.method) for g in groups for row in g.rows):
        of_data = [group for group in groups if group.images == images]
        counts = Counter(row for group in of_data for row in group.rows)
        rows = {row for row in counts if row.method == method and counts[row] > 1}
        variants = [Variant(g, row) for g in of_data for row in g.rows if row in rows]
        found += [_ablation(variants, predictions)] if variants else []
    return found


def _ablation(variants: list[Variant], predictions: Predictions) -> Ablation:
    keys = varied_keys(variants)

    def order(variant: Variant) -> tuple:
        mine = {key: value for key, value in variant.group.changes.items() if key in keys}
        return row_order(variant.row), len(mine), _in_order(mine)

    variants = sorted(variants, key=order)
    lines: list[dict] = []
    for _, of_row in groupby(variants, key=lambda variant: variant.row):
        lines += against_base(list(of_row), keys, predictions, paired=True)
    values = corrected(lines, keys)
    row = variants[0].row
    title = f"{paper.title(row.method)} on {variants[0].group.data_title}, by {', '.join(keys)}"
    data, fingerprint = variants[0].group.images
    end = f" {str(fingerprint)[:8]}" if fingerprint else ""
    name = f"ablation-{slug(f'{data} {row.method}{end}')}"
    question = f"What {'does' if len(keys) == 1 else 'do'} {listed(keys)} change?"
    sentence = _sentence(values, keys)
    columns = columns_of(keys, values)
    return Ablation(name, f"Ablation: {title}", question, tuple(keys), columns, values, sentence)


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
    bases = ", ".join(f"{key}={base[key]}" for key in keys if far[key] != base[key])
    words = difference_in_words(
        f"{paper.title(far['model'])} with {changed} > {bases}",
        *far[["difference", "difference_low", "difference_high", "metric", "difference_of"]],
    )
    seeds = seeds_in_words([int(far["n"]), int(base["n"])])
    if not len(significant):
        return f"NO DIFFERENCE is significant on {seeds}; the largest: {words}"
    head = "DIFFERENT" if min(far["n"], base["n"]) >= MIN_SEEDS else "LEANS"
    return (
        f"{head} on {seeds}, {len(significant)} of {len(tested)} differences, the largest: {words}"
    )


def _in_order(changes: Changes) -> list[tuple[str, float, str]]:
    """Return what sorts changes by key, then numbers by their value, and all else after them."""
    number = {key: value for key, value in changes.items() if isinstance(value, int | float)}
    return [(key, number.get(key, np.inf), str(changes[key])) for key in sorted(changes)]
