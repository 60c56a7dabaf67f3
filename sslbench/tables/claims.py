"""The paper's seven claims, put to tests on our cells and on the paper's own numbers.

A claim is a list of comparisons A > B. Each is tested two-sided at 5 %, its p-value corrected by
Holm's method over all comparisons of the seven claims on the same group of cells.

- *holds*: every comparison is significantly positive.
- *contradicted*: any is significantly negative.
- *undecided*: anything else, also where some comparison has no data.
- *no data*: no comparison has any.

Claim 7, "no improvement", cannot be shown by a difference that is not significant. It *holds* if
the upper 95 % bound (not corrected) of every improvement is below one point, and is *contradicted*
if any improvement is significantly positive.

Our cells are compared as `comparisons` says. The paper has neither seeds nor predictions: its
numbers are compared as independent shares.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from sslbench.tables import paper, statistics
from sslbench.tables.comparisons import Tested, compare
from sslbench.tables.groups import Group

SIGNIFICANCE = 0.05
MARGIN = 0.01
"""An improvement surely below one point, and not surely above zero, counts as none (claim 7)."""
PAPER_GROUP = "the paper's own numbers"
HOLDS, CONTRADICTED, UNDECIDED, NO_DATA = "holds", "contradicted", "undecided", "no data"
VERDICT_WORDS = {HOLDS: "holds", CONTRADICTED: "is contradicted", UNDECIDED: "is undecided"}
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

    name: str
    better: paper.Row
    worse: paper.Row
    metric: paper.Metric


@dataclass(frozen=True)
class Comparison:
    """A > B, tested. Differences are fractions (0.01 is one point)."""

    name: str
    """What is compared, such as "ResNet18 > ConvNet"."""
    metric: str
    difference: float
    low: float
    high: float
    p: float
    """Two-sided, before correction."""
    effect_size: float
    effect: str
    """The kind of effect size: Cohen's d_z, g or h."""
    test: str
    p_corrected: float = float("nan")
    """Holm over all comparisons of the seven claims of this group."""

    @property
    def sign(self) -> int:
        """1 or -1 if the difference is significantly positive or negative, else 0."""
        if self.p_corrected >= SIGNIFICANCE:
            return 0
        return (self.difference > 0) - (self.difference < 0)


@dataclass(frozen=True)
class ClaimResult:
    """One claim's verdict within one group of cells, or on the paper's own numbers."""

    number: int
    group: str
    """`PAPER_GROUP`, or the title of a group of cells."""
    comparisons: list[Comparison]
    without_data: list[str]
    """Comparisons that could not be made."""
    on_paper_settings: bool = False
    """Whether the cells may be set beside the paper's."""

    @property
    def claim(self) -> str:
        return CLAIMS[self.number]

    @property
    def verdict(self) -> str:
        """`HOLDS`, `CONTRADICTED`, `UNDECIDED` or `NO_DATA`."""
        return judge(self.number, self.comparisons, complete=not self.without_data)

    @property
    def sentence(self) -> str:
        """The verdict and the differences behind it, in words."""
        if self.verdict == NO_DATA:
            return f"Claim {self.number} has no data: no comparison has cells on both sides."
        found = self.comparisons
        if len(found) <= 3:
            text = "; ".join(map(_phrase, found))
        else:
            signs = [each.sign for each in found]
            text = (
                f"{signs.count(1)} of {len(found)} differences are significantly positive and "
                f"{signs.count(-1)} significantly negative; the least is "
                f"{_phrase(min(found, key=lambda each: each.difference))}"
            )
        if self.without_data:
            text += f"; {len(self.without_data)} more comparison(s) have no data"
        return f"Claim {self.number} {VERDICT_WORDS[self.verdict]}: {text}."


def claim_pairs(*, of_paper: bool) -> dict[int, list[Pair]]:
    """Return the comparisons of each claim.

    They are of test accuracy, claim 6's of training and validation accuracy. The paper has no test
    accuracy of self-supervised encoders: its claims 2 and 5 are put to validation accuracy.
    """
    metric = paper.VAL if of_paper else paper.TEST
    semi = {model: _row(paper.SEMI, model) for model in paper.MODELS}
    return {
        1: _order(paper.SUPERVISED, paper.TEST),
        2: _order(paper.BARLOW, metric),
        3: _order(paper.SEMI, paper.TEST),
        4: [_versus(semi["wrn45_2"], _row(paper.SUPERVISED, "wrn45_2"), paper.TEST)],
        5: [_versus(row, _row(paper.BARLOW, model), metric) for model, row in semi.items()],
        6: [
            Pair(
                f"{paper.model_title(model)} {more} > {fewer}",
                row._replace(ratio=more),
                row._replace(ratio=fewer),
                split,
            )
            for split in (paper.TRAIN, paper.VAL)
            for model, row in semi.items()
            for fewer, more in pairwise(paper.RATIOS)
        ],
        7: [_versus(row._replace(init=paper.BARLOW), row, paper.TEST) for row in semi.values()],
    }


def _row(method: str, model: str) -> paper.Row:
    return paper.Row(method, model, None if method == paper.SUPERVISED else paper.FULL_RATIO)


def _order(method: str, metric: paper.Metric) -> list[Pair]:
    return [
        Pair(
            f"{paper.model_title(better)} > {paper.model_title(worse)}",
            _row(method, better),
            _row(method, worse),
            metric,
        )
        for better, worse in pairwise(reversed(paper.MODELS))
    ]


def _versus(better: paper.Row, worse: paper.Row, metric: paper.Metric) -> Pair:
    ways = [paper.method_title(row.method) for row in (better, worse)]
    if better.init:
        ways = ["self-supervised start", "from scratch"]
    return Pair(f"{paper.model_title(better.model)} {' > '.join(ways)}", better, worse, metric)


def paper_claims() -> list[ClaimResult]:
    """Put the seven claims to the paper's own tables, under binomial errors."""
    main = paper.TABLE_1 | paper.TABLE_2 | paper.TABLE_3

    def test(number: int, pair: Pair) -> Tested | None:
        reported = paper.TABLE_4 if number == 6 else main
        if pair.better not in reported or pair.worse not in reported:
            return None
        images = paper.NUM_IMAGES[pair.metric.split]
        a, b = (reported[row][pair.metric] for row in (pair.better, pair.worse))
        return statistics.two_proportions(a, b, images, images), "z test"

    return _put_to_test(PAPER_GROUP, claim_pairs(of_paper=True), test)


def group_claims(group: Group, problems: list[str]) -> list[ClaimResult]:
    """Put the seven claims to a group's cells; what cannot be read is added to `problems`."""

    def test(number: int, pair: Pair) -> Tested | None:
        return compare(group.done(pair.better), group.done(pair.worse), pair.metric, problems)

    results = _put_to_test(group.title, claim_pairs(of_paper=False), test)
    return [replace(result, on_paper_settings=group.is_paper) for result in results]


def _put_to_test(
    group: str, pairs: dict[int, list[Pair]], test: Callable[[int, Pair], Tested | None]
) -> list[ClaimResult]:
    results = [ClaimResult(number, group, [], []) for number in pairs]
    for result in results:
        for pair in pairs[result.number]:
            tested = test(result.number, pair)
            if tested is None:
                missing = f"{paper.row_title(pair.better)} against {paper.row_title(pair.worse)}"
                result.without_data.append(missing)
            else:
                difference, name = tested
                title = pair.metric.title
                result.comparisons.append(Comparison(pair.name, title, *difference, name))
    corrected = iter(statistics.holm([each.p for result in results for each in result.comparisons]))
    return [
        replace(
            result,
            comparisons=[replace(each, p_corrected=next(corrected)) for each in result.comparisons],
        )
        for result in results
    ]


def judge(number: int, comparisons: list[Comparison], *, complete: bool) -> str:
    """Return a claim's verdict by the rules above; `complete`: every comparison could be made."""
    if not comparisons:
        return NO_DATA
    signs = {each.sign for each in comparisons}
    if number == NO_IMPROVEMENT:
        contradicted, holds = 1 in signs, all(each.high < MARGIN for each in comparisons)
    else:
        contradicted, holds = -1 in signs, signs == {1}
    if contradicted:
        return CONTRADICTED
    return HOLDS if complete and holds else UNDECIDED


def _phrase(comparison: Comparison) -> str:
    return (
        f"{comparison.name}: {100 * comparison.difference:+.2f} points of {comparison.metric} "
        f"(95 % interval {100 * comparison.low:+.2f} to {100 * comparison.high:+.2f}, "
        f"p {format_p(comparison.p)}, corrected p {format_p(comparison.p_corrected)}, "
        f"{comparison.test})"
    )


def format_p(p: float) -> str:
    """Write a p-value to three decimals.

    >>> format_p(0.00004), format_p(0.04251)
    ('< 0.001', '= 0.043')
    """
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
