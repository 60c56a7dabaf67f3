"""Lines of trainings, each tested against the first one, their base line."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.cell.record import flatten
from sslbench.paper import KNN, TEST, TRAIN, VAL, Row
from sslbench.tables.compare import Predictions, SeedVariance, compare
from sslbench.tables.groups import Group, overrides, written
from sslbench.tables.judge import with_correction
from sslbench.tables.statistics import Difference
from sslbench.tables.summaries import summarize

TESTED = (TRAIN, VAL, TEST)
MANY_KEYS = 2
"""Lines that differ in more settings name those that they change, others the values of all."""
ORIGIN = ("method", "ratio", "from")
SETTINGS = "settings"
"""The column of these changes."""
PLAIN = {"preset": "paper"}
"""What settings are that a record need not name."""


class Variant(NamedTuple):
    """A row of a group whose settings are one line."""

    group: Group
    row: Row

    @property
    def has_knn(self) -> bool:
        """Whether any of its finished cells has a k-NN accuracy."""
        return any(cell.value(KNN) is not None for cell in self.group.done(self.row).values())


def varied_keys(variants: list[Variant]) -> list[str]:
    """Return the settings in which the variants' groups differ, sorted."""
    changes = [group.changes for group, _ in variants]
    keys = sorted({key for each in changes for key in each})
    return [key for key in keys if len({json.dumps(each.get(key)) for each in changes}) > 1]


def against_base(
    variants: list[Variant], keys: list[str], predictions: Predictions, *, paired: bool
) -> Iterator[dict]:
    """Yield the variants' lines, one for each metric; the first variant is the base line.

    Args:
        keys: Of the settings that are columns.
        paired: Whether a seed means the same first weights and order of images to all.
    """
    cells = [group.done(row) for group, row in variants]
    variance = SeedVariance(cells, paired=paired)
    for variant, mine in zip(variants, cells, strict=True):
        (group, row), is_base = variant, mine is cells[0]
        texts = _texts(variant, keys)
        for metric in (*TESTED, KNN) if variant.has_knn else TESTED:
            found = summarize(row, group.rows[row].values(), metric, variance)
            is_tested = metric in TESTED and not is_base
            tested = compare(mine, cells[0], metric, predictions, variance) if is_tested else None
            yield found | texts | {"is_base": is_base} | _columns(tested)


def corrected(lines: list[dict], keys: list[str]) -> pd.DataFrame:
    """Return lines as a frame with names, p-values corrected over those of one metric."""
    values = pd.DataFrame(lines)
    for column in ("ratio", "from"):  # None as None, and not as a number that is none
        values[column] = values[column].astype(object).where(values[column].notna(), None)
    values.insert(0, "name", _names(values, keys))
    parts = [values[values["metric"] == metric.title] for metric in (*TESTED, KNN)]
    return pd.concat(with_correction(part) for part in parts if len(part)).sort_index()


def columns_of(keys: list[str], values: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that tell lines apart; of many settings one, for those that change."""
    places = [key for key in ("ratio", "from") if values[key].nunique(dropna=False) > 1]
    settings = [key for key in keys if key != "method"]
    settings = settings if len(settings) <= MANY_KEYS else [SETTINGS]
    return tuple(["method"] * ("method" in keys) + places + settings)


def _names(values: pd.DataFrame, keys: list[str]) -> list[str]:
    """Name each line by its model and what tells it apart: `vit semi-supervised steps=40`."""
    place = ["model", "method"] if "method" in keys else ["model"]
    place += ["ratio"] if values["ratio"].nunique() > 1 else []
    columns = [column for column in columns_of(keys, values) if column not in ORIGIN]
    others = values.drop_duplicates([*place, "from", *columns])[[*place, "from"]]
    shared = {tuple(line) for line in others[others.duplicated()].itertuples(index=False)}
    names, short = [], short_keys(columns)
    for line in values.to_dict("records"):
        words = [paper.title(line[key]) for key in place if line[key]]
        words += [f"from {line['from']}"] if line["from"] else []
        if tuple(line[key] for key in (*place, "from")) in shared:
            told = [
                line[key] if key == SETTINGS else f"{short[key]}={line[key]}" for key in columns
            ]
            words += filter(None, told)
        names.append(" ".join(words))
    return names


def _texts(variant: Variant, keys: list[str]) -> dict[str, str]:
    """Return a line's values of the settings that are columns, and those it changes."""
    group, row = variant
    settings = flatten(next(iter(group.rows[row].values())).record.settings)
    groups = {key: settings.get(f"{key}.name") for key in keys}  # as `optimizer` is
    known = groups | settings | PLAIN | group.changes
    changed = sorted(group.changes.keys() & set(keys), key=lambda key: (key not in PLAIN, key))
    texts = {key: "none" if known.get(key) is None else written(known[key]) for key in keys}
    short = short_keys(keys)
    changed = {short[key]: group.changes[key] for key in changed}
    return texts | {SETTINGS: " ".join(overrides(changed))}


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return settings' names without their groups': `ema` for `method.ema`, unless two have it."""
    ends = {key: key.rpartition(".")[2] for key in keys}
    is_clear = len(set(ends.values())) == len(ends)
    return ends if is_clear else {key: key for key in ends}


def _columns(tested: Difference | None) -> dict:
    """Return a difference from the base line as columns; the base line has none."""
    names = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
    names |= {"interval_of": "difference_of", "p": "p", "test": "test"}
    if tested is None:
        return dict.fromkeys(names.values(), np.nan) | {"difference_of": None, "test": None}
    return {name: getattr(tested, key) for key, name in names.items()}
