"""Lines of trainings, each tested against the first one, their base line."""

import json
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench.cell.record import flatten
from sslbench.tables import paper
from sslbench.tables.compare import Predictions, SeedVariance, compare
from sslbench.tables.groups import Group, written
from sslbench.tables.judge import with_correction
from sslbench.tables.paper import KNN, TEST, TRAIN, VAL, Row
from sslbench.tables.statistics import Difference
from sslbench.tables.summaries import summarize

TESTED = (TRAIN, VAL, TEST)


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


def corrected(lines: list[dict]) -> pd.DataFrame:
    """Return lines as a frame, p-values corrected over those of one metric."""
    values = pd.DataFrame(lines)
    for column in ("ratio", "from"):  # None as None, and not as a number that is none
        values[column] = values[column].astype(object).where(values[column].notna(), None)
    parts = [values[values["metric"] == metric.title] for metric in (*TESTED, KNN)]
    return pd.concat(with_correction(part) for part in parts if len(part)).sort_index()


def line_name(line: pd.Series, keys: Collection[str]) -> str:
    """Name a line by its model and what tells it apart: `vit semi-supervised 1:5 steps=40`."""
    words = [paper.title(line[key]) for key in ("model", "method") if key in ("model", *keys)]
    words += [str(line[key]) for key in ("ratio", "from") if line[key]]
    words += [f"{key.rpartition('.')[2]}={line[key]}" for key in keys if key != "method"]
    return " ".join(words)


def _texts(variant: Variant, keys: list[str]) -> dict[str, str]:
    group, row = variant
    settings = flatten(next(iter(group.rows[row].values())).record.settings)
    return {key: "none" if settings.get(key) is None else written(settings[key]) for key in keys}


def _columns(tested: Difference | None) -> dict:
    """Return a difference from the base line as columns; the base line has none."""
    names = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
    names |= {"interval_of": "difference_of", "p": "p", "test": "test"}
    if tested is None:
        return dict.fromkeys(names.values(), np.nan) | {"difference_of": None, "test": None}
    return {name: getattr(tested, key) for key, name in names.items()}
