"""From cells to claims: compare what each claim compares, and correct for how much that is."""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.paper import Metric, Row
from sslbench.tables import statistics
from sslbench.tables.claims import PAPER_GROUP, SIGNIFICANCE, Claim
from sslbench.tables.compare import Predictions, Seeds, SeedVariance, compare
from sslbench.tables.groups import Group
from sslbench.tables.statistics import Difference

Tested = tuple[Difference, int]
"""A difference, and the seeds of the side that has fewer."""


class Pair(NamedTuple):
    """A claim's comparison: `better` is said to have the higher `metric` than `worse`."""

    claim: int
    name: str
    better: Row
    worse: Row
    metric: Metric


def claim_pairs(*, of_paper: bool) -> list[Pair]:
    """Read `claims.csv`. The paper has no test accuracy of self-supervised encoders, but of val."""
    metrics = {metric.title: metric for metric in (paper.TRAIN, paper.VAL, paper.TEST)}
    with Path(__file__).with_name("claims.csv").open() as file:
        return [
            Pair(
                *(int(line["claim"]), line["comparison"]),
                *(Row(*line[side].split()) for side in ("better", "worse")),
                metrics[line["paper's metric" if of_paper else "metric"]],
            )
            for line in csv.DictReader(file)
        ]


@cache
def paper_claims() -> tuple[Claim, ...]:
    """Put the seven claims to the paper's own tables, of one training each, by binomial errors."""

    def test(pair: Pair) -> Tested | None:
        main = paper.TABLE_1 | paper.TABLE_2 | paper.TABLE_3
        reported = paper.TABLE_4 if pair.claim == 6 else main
        if not {pair.better, pair.worse} <= reported.keys():
            return None
        shares = [reported[row][pair.metric] for row in (pair.better, pair.worse)]
        return statistics.two_proportions(*shares, *[paper.NUM_IMAGES[pair.metric.split]] * 2), 1

    return tuple(judge(PAPER_GROUP, claim_pairs(of_paper=True), test))


def group_claims(group: Group, predictions: Predictions) -> list[Claim]:
    """Put the seven claims to a group's cells, with and without those of chance."""
    pairs = claim_pairs(of_paper=False)
    cells = {row: group.done(row) for row in group.rows}
    collapsed: dict[int, dict[str, None]] = {pair.claim: {} for pair in pairs}
    for pair in pairs:
        of_pair = [*cells.get(pair.better, {}).values(), *cells.get(pair.worse, {}).values()]
        collapsed[pair.claim] |= {cell.title: None for cell in of_pair if cell.collapse}
    found = without = judge(group.title, pairs, cell_test(cells, predictions))
    if any(collapsed.values()):
        sound = {row: group.sound(row) for row in group.rows}
        without = judge(group.title, pairs, cell_test(sound, predictions))
    return [
        replace(
            claim,
            on_paper_settings=group.is_paper,
            collapsed=list(collapsed[claim.number]),
            without_collapsed=other if collapsed[claim.number] else None,
        )
        for claim, other in zip(found, without, strict=True)
    ]


def can_test_claims(groups: Iterable[Group]) -> bool:
    """Whether a comparison of any claim has cells on both sides, finished or not."""
    pairs = claim_pairs(of_paper=False)
    return any({pair.better, pair.worse} <= group.rows.keys() for group in groups for pair in pairs)


def cell_test(
    cells: Mapping[Row, Seeds], predictions: Predictions
) -> Callable[[Pair], Tested | None]:
    """Return what compares two rows of cells."""
    variance = SeedVariance(cells.values())

    def test(pair: Pair) -> Tested | None:
        a, b = cells.get(pair.better, {}), cells.get(pair.worse, {})
        found = compare(a, b, pair.metric, predictions, variance)
        return None if found is None else (found, min(len(a), len(b)))

    return test


def judge(group: str, pairs: Iterable[Pair], test: Callable[[Pair], Tested | None]) -> list[Claim]:
    """Return the claims that `pairs` belong to; `test` returns None where there is no data."""
    return [
        Claim(number, group, own[own["p"].notna()], int(own["p"].isna().sum()))
        for number, own in tests_of(pairs, test).groupby("claim")
    ]


def tests_of(pairs: Iterable[Pair], test: Callable[[Pair], Tested | None]) -> pd.DataFrame:
    """Return comparisons as a frame, with Holm's correction over all of them."""
    columns = ["claim", "comparison", "metric", *Difference._fields, "num_seeds"]
    tests = pd.DataFrame(
        {"claim": pair.claim, "comparison": pair.name, "metric": pair.metric.title}
        | ({**found[0]._asdict(), "num_seeds": found[1]} if (found := test(pair)) else {})
        for pair in pairs
    ).reindex(columns=columns)
    return with_correction(tests.assign(num_seeds=tests["num_seeds"].fillna(0).astype(int)))


def with_correction(tests: pd.DataFrame) -> pd.DataFrame:
    """Add `p_corrected`, by Holm's method over all lines, and `sign`: 0 where not significant."""
    is_done = tests["p"].notna()
    corrected = pd.Series(np.nan, tests.index)
    corrected[is_done] = statistics.holm(tests["p"][is_done].to_numpy(float))
    sign = np.sign(tests["difference"].fillna(0)) * (corrected < SIGNIFICANCE)
    return tests.assign(p_corrected=corrected, sign=sign.astype(int))
