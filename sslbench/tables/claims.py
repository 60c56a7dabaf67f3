"""The paper's seven claims, put to tests on our cells and on the paper's own numbers.

A claim is a list of comparisons A > B, tested two-sided at 5 %. `RULES` says what follows. The
paper's numbers are compared as independent shares, our cells as `compare` says.
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from sslbench.cell.embeddings import EMBEDDINGS, read_predictions
from sslbench.tables import paper, statistics
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS, Group
from sslbench.tables.paper import Metric, Row
from sslbench.tables.statistics import Difference

RULES = (
    "Holds: every comparison is significantly positive (5 %, Holm-corrected over all comparisons "
    "of the seven claims). Contradicted: any is significantly negative. Undecided: else. Claim 7 "
    "holds if every improvement's upper 95 % bound is below one point."
)
SIGNIFICANCE = 0.05
MARGIN = 0.01
"""An improvement surely below one point, and not surely above zero, counts as none (claim 7)."""
PAPER_GROUP = "the paper's own numbers"
HOLDS, CONTRADICTED, UNDECIDED, NO_DATA = "holds", "contradicted", "undecided", "no data"
NO_IMPROVEMENT = 7
CLAIMS = {
    1: "Supervised: WRN-45-2 > ResNet18 > ConvNet",
    2: "Self-supervised: WRN-45-2 > ResNet18 > ConvNet",
    3: "Semi-supervised: WRN-45-2 > ResNet18 > ConvNet",
    4: "Semi-supervised beats supervised for WRN-45-2",
    5: "Semi-supervised beats self-supervised for every model",
    6: "More unlabelled images help: 1:1 < 1:5 < 1:20",
    7: "Starting from self-supervised weights yields no improvement",
}


class Pair(NamedTuple):
    """A claim's comparison: `better` is said to have the higher `metric` than `worse`."""

    claim: int
    name: str
    better: Row
    worse: Row
    metric: Metric


@dataclass(frozen=True)
class Claim:
    """One claim within one group of cells, or on the paper's own numbers."""

    number: int
    group: str
    """`PAPER_GROUP`, or the title of a group of cells."""
    tests: pd.DataFrame
    """By comparison: `Difference` in fractions, `p_corrected`, `sign` (0: not significant)."""
    num_missing: int
    """Comparisons without data."""
    on_paper_settings: bool = False
    """Whether the cells may be set beside the paper's."""

    @property
    def text(self) -> str:
        return CLAIMS[self.number]

    @property
    def verdict(self) -> str:
        """`HOLDS`, `CONTRADICTED`, `UNDECIDED` or `NO_DATA`."""
        if self.tests.empty:
            return NO_DATA
        sign = self.tests["sign"]
        holds, contradicted = (sign > 0).all(), (sign < 0).any()
        if self.number == NO_IMPROVEMENT:  # is not shown by differences that are not significant
            holds, contradicted = (self.tests["high"] < MARGIN).all(), (sign > 0).any()
        if contradicted:
            return CONTRADICTED
        return HOLDS if holds and not self.num_missing else UNDECIDED

    @property
    def sentence(self) -> str:
        """The verdict and the differences behind it, in words."""
        verdict, tests = self.verdict, self.tests
        if verdict == NO_DATA:
            return f"Claim {self.number} has no data: no comparison has cells on both sides."
        least = next(tests.nsmallest(1, "difference").itertuples())
        text = (
            f"{sum(tests['sign'] > 0)} of {len(tests)} differences significantly positive, "
            f"{sum(tests['sign'] < 0)} significantly negative; the least is {least.comparison}: "
            f"{100 * least.difference:+.2f} points of {least.metric} (95 % interval "
            f"{100 * least.low:+.2f} to {100 * least.high:+.2f}, corrected p "
            f"{format_p(least.p_corrected)}, {least.test})"
        )
        if self.num_missing:
            text += f"; {self.num_missing} more comparison(s) have no data"
        return f"Claim {self.number} {'is ' * (verdict != HOLDS)}{verdict}: {text}."


def claim_pairs(*, of_paper: bool) -> list[Pair]:
    """Read `claims.csv`. The paper has no test accuracy of self-supervised encoders, but of val."""
    metrics = {metric.title: metric for metric in (paper.TRAIN, paper.VAL, paper.TEST)}
    with Path(__file__).with_suffix(".csv").open() as file:
        return [
            Pair(
                *(int(line["claim"]), line["comparison"]),
                *(Row(*line[side].split()) for side in ("better", "worse")),
                metrics[line["paper's metric" if of_paper else "metric"]],
            )
            for line in csv.DictReader(file)
        ]


def paper_claims() -> list[Claim]:
    """Put the seven claims to the paper's own tables, under binomial errors."""

    def test(pair: Pair) -> Difference | None:
        main = paper.TABLE_1 | paper.TABLE_2 | paper.TABLE_3
        reported = paper.TABLE_4 if pair.claim == 6 else main
        if not {pair.better, pair.worse} <= reported.keys():
            return None
        shares = [reported[row][pair.metric] for row in (pair.better, pair.worse)]
        return statistics.two_proportions(*shares, *[paper.NUM_IMAGES[pair.metric.split]] * 2)

    return judge(PAPER_GROUP, claim_pairs(of_paper=True), test)


def group_claims(group: Group, problems: list[str]) -> list[Claim]:
    """Put the seven claims to a group's cells; what cannot be read is added to `problems`."""

    def test(pair: Pair) -> Difference | None:
        return compare(group.done(pair.better), group.done(pair.worse), pair.metric, problems)

    found = judge(group.title, claim_pairs(of_paper=False), test)
    return [replace(claim, on_paper_settings=group.is_paper) for claim in found]


def compare(
    a: dict[int, Cell], b: dict[int, Cell], metric: Metric, problems: list[str]
) -> Difference | None:
    """Test the difference of two rows' finished cells, each by seed; None if one has none.

    Three or more common seeds are paired (t-test). Of fewer, the first is compared over the same
    images (McNemar's mid-p); without predictions, as of training images, by shares (z test).
    Files of predictions that cannot be read are added to `problems`.
    """
    if not a or not b:
        return None
    common = sorted(a.keys() & b.keys())
    if len(common) >= MIN_SEEDS:
        values = ([cells[seed].value(metric) for seed in common] for cells in (a, b))
        found = statistics.paired_t(*values)
        # Differences that are all alike by the coarseness of few images show no certainty.
        if found.low < found.high:
            return found._replace(test=f"{found.test}, {len(common)} seeds")
    pair = [cells[min(common or cells)] for cells in (a, b)]
    seeds = " and ".join(dict.fromkeys(str(cell.seed) for cell in pair))
    right = None if metric.split == "train" else _right_images(pair, metric.split, problems)
    if right is None:
        shares = [cell.value(metric) for cell in pair]
        found = statistics.two_proportions(*shares, *[c.num_images(metric.split) for c in pair])
        return found._replace(test=f"{found.test}, seed {seeds}")
    found = statistics.same_images(*right)
    return found._replace(test=f"{found.test}, seed {seeds}, {len(right[0])} images")


def _right_images(pair: list[Cell], split: str, problems: list[str]) -> list[np.ndarray] | None:
    """Return which images each cell gets right, `(n,)` bools; None if that is not known."""
    paths = [cell.folder / EMBEDDINGS.format(split) for cell in pair]
    try:
        found = [read_predictions(path) for path in paths if path.exists()]
    except ValueError as error:
        is_named = any(str(path) in problem for path in paths for problem in problems)
        problems += [] if is_named else [str(error)]
        return None
    is_same = len(found) == 2 and np.array_equal(found[0][0], found[1][0])
    return [right for _, right in found] if is_same else None


def judge(
    group: str, pairs: Iterable[Pair], test: Callable[[Pair], Difference | None]
) -> list[Claim]:
    """Return the claims that `pairs` belong to; `test` returns None where there is no data."""
    tests = pd.DataFrame(
        {"claim": pair.claim, "comparison": pair.name, "metric": pair.metric.title}
        | (found._asdict() if (found := test(pair)) else {})
        for pair in pairs
    ).reindex(columns=["claim", "comparison", "metric", *Difference._fields, "p_corrected"])
    is_done = tests["p"].notna()
    if is_done.any():
        tests.loc[is_done, "p_corrected"] = multipletests(tests["p"][is_done], method="holm")[1]
    tests["sign"] = np.sign(tests["difference"]) * (tests["p_corrected"] < SIGNIFICANCE)
    return [
        Claim(number, group, own.dropna(subset="p"), int(own["p"].isna().sum()))
        for number, own in tests.groupby("claim")
    ]


def failed_claims(claims: list[Claim], numbers: list[int]) -> list[str]:
    """Name the claims that do not hold on our cells, those in the paper's settings if any are."""
    ours = [claim for claim in claims if claim.group != PAPER_GROUP]
    ours = [claim for claim in ours if claim.on_paper_settings] or ours
    failed = [claim for claim in ours if claim.number in numbers and claim.verdict != HOLDS]
    missing = [] if ours else [f"claim {number}: {NO_DATA}" for number in numbers]
    return missing + [f"claim {each.number} on {each.group}: {each.verdict}" for each in failed]


def format_p(p: float) -> str:
    """Write `= 0.043` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
