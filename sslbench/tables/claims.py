"""The paper's seven claims, put to tests on our cells and on the paper's own figures.

A claim is a list of comparisons A > B. Each is tested two-sided at 5 %, its p-value corrected by
Holm's method over all comparisons of the seven claims on the same group of cells.

- *holds*: every comparison is significantly positive.
- *contradicted*: any is significantly negative.
- *undecided*: anything else, also where some comparison has no data.
- *no data*: no comparison has any.

Claim 7, "no improvement", cannot be shown by a difference that is not significant. It *holds* if
the upper 95 % bound (not corrected) of every improvement is below one point, and is *contradicted*
if any improvement is significantly positive.

Where two rows have three or more seeds in common, seeds are paired (t-test). With fewer, the cells
are compared over the same images: one seed's by McNemar's mid-p (the interval is a paired
bootstrap), two seeds' by a paired t-test of how often each image is taken right. Where predictions
are not kept (training accuracy), they are compared as independent shares (z test). The paper has
neither seeds nor predictions: its figures are compared as independent shares.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from sslbench.evaluate.projection import UNREADABLE
from sslbench.tables import paper, statistics
from sslbench.tables.groups import MIN_SEEDS, Entry, Group
from sslbench.tables.paper import (
    BARLOW,
    FULL_RATIO,
    METHOD_TITLES,
    METRIC_TITLES,
    MODEL_TITLES,
    MODELS,
    SEMI,
    SUPERVISED,
    TEST,
    TRAIN,
    VAL,
    Metric,
    Row,
    row_title,
)
from sslbench.tables.statistics import Difference

SIGNIFICANCE = 0.05
MARGIN = 0.01
"""An improvement surely below one point, and not surely above zero, counts as none (claim 7)."""
PAPER_GROUP = "the paper's own figures"
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

    name: str
    better: Row
    worse: Row
    metric: Metric


@dataclass(frozen=True)
class Comparison:
    """A > B, tested. Differences are fractions (0.01 is one point)."""

    name: str
    """What is compared, such as "ResNet18 > ConvNet"."""
    metric: str
    difference: float
    low: float
    high: float
    effect_size: float
    effect: str
    """The kind of effect size: Cohen's d_z, g or h."""
    test: str
    p: float
    """Two-sided, before correction."""
    p_corrected: float
    """Holm over all comparisons of the seven claims of this group."""


@dataclass(frozen=True)
class ClaimResult:
    """One claim's verdict within one group of cells, or on the paper's own figures."""

    number: int
    claim: str
    group: str
    """`PAPER_GROUP`, or the title of a group of cells."""
    verdict: str
    """`HOLDS`, `CONTRADICTED`, `UNDECIDED` or `NO_DATA`."""
    sentence: str
    comparisons: list[Comparison] = field(default_factory=list)
    without_data: list[str] = field(default_factory=list)
    """Comparisons that could not be made."""
    on_paper_settings: bool = False
    """Whether the cells may be set beside the paper's figures."""


@dataclass(frozen=True)
class _Tested:
    estimate: Difference
    test: str
    effect: str


def _row(method: str, model: str) -> Row:
    return Row(method, model, None if method == SUPERVISED else FULL_RATIO)


def _order(method: str, metric: Metric) -> list[Pair]:
    pairs = zip(MODELS[::-1], MODELS[-2::-1], strict=False)
    return [
        Pair(
            f"{MODEL_TITLES[better]} > {MODEL_TITLES[worse]}",
            _row(method, better),
            _row(method, worse),
            metric,
        )
        for better, worse in pairs
    ]


def _versus(model: str, better: Row, worse: Row, metric: Metric) -> Pair:
    ways = (
        ("self-supervised start", "from scratch")
        if better.init
        else (METHOD_TITLES[better.method], METHOD_TITLES[worse.method])
    )
    return Pair(f"{MODEL_TITLES[model]} {' > '.join(ways)}", better, worse, metric)


def claim_pairs(*, of_paper: bool) -> dict[int, list[Pair]]:
    """Return the comparisons of each claim.

    They are of test accuracy, claim 6's of training and validation accuracy. The paper has no test
    accuracy of self-supervised encoders: its claims 2 and 5 are put to validation accuracy.
    """
    metric = VAL if of_paper else TEST
    ratios = [
        Pair(
            f"{MODEL_TITLES[model]} {more} > {fewer}",
            Row(SEMI, model, more),
            Row(SEMI, model, fewer),
            split,
        )
        for split in (TRAIN, VAL)
        for model in MODELS
        for fewer, more in zip(paper.RATIOS, paper.RATIOS[1:], strict=False)
    ]
    return {
        1: _order(SUPERVISED, TEST),
        2: _order(BARLOW, metric),
        3: _order(SEMI, TEST),
        4: [_versus("wrn45_2", _row(SEMI, "wrn45_2"), _row(SUPERVISED, "wrn45_2"), TEST)],
        5: [_versus(model, _row(SEMI, model), _row(BARLOW, model), metric) for model in MODELS],
        6: ratios,
        7: [
            _versus(model, _row(SEMI, model)._replace(init=BARLOW), _row(SEMI, model), TEST)
            for model in MODELS
        ],
    }


def paper_claims() -> list[ClaimResult]:
    """Put the seven claims to the paper's own tables, under binomial errors."""
    main = paper.TABLE_1 | paper.TABLE_2 | paper.TABLE_3

    def test(number: int, pair: Pair) -> _Tested | None:
        figures = paper.TABLE_4 if number == 6 else main
        if pair.better not in figures or pair.worse not in figures:
            return None
        images = paper.NUM_IMAGES[pair.metric.split]
        a, b = (figures[row][pair.metric] for row in (pair.better, pair.worse))
        return _Tested(statistics.two_proportions(a, b, images, images), "z test", "Cohen's h")

    return _judge_all(PAPER_GROUP, claim_pairs(of_paper=True), test)


def group_claims(group: Group, problems: list[str]) -> list[ClaimResult]:
    """Put the seven claims to a group's cells; what cannot be read is added to `problems`."""

    def test(number: int, pair: Pair) -> _Tested | None:
        return compare(group.done(pair.better), group.done(pair.worse), pair.metric, problems)

    results = _judge_all(group.title, claim_pairs(of_paper=False), test)
    return [replace(result, on_paper_settings=group.is_paper) for result in results]


def compare(
    a: dict[int, Entry], b: dict[int, Entry], metric: Metric, problems: list[str]
) -> _Tested | None:
    """Test the difference of two rows' finished cells, each by seed; None if one has none."""
    if not a or not b:
        return None
    common = sorted(a.keys() & b.keys())
    if len(common) >= MIN_SEEDS:
        values = [[cells[seed].value(metric) for seed in common] for cells in (a, b)]
        estimate = statistics.paired_t(*values)
        # Differences that are all alike by the coarseness of few images show no certainty.
        if estimate.low < estimate.high:
            return _Tested(estimate, f"paired t, {len(common)} seeds", "Cohen's d_z")
    pairs = [(a[seed], b[seed]) for seed in common] or [(a[min(a)], b[min(b)])]
    return _compare_images(pairs, metric, problems)


def _compare_images(
    pairs: list[tuple[Entry, Entry]], metric: Metric, problems: list[str]
) -> _Tested:
    """Test cells by the images that they get right; a pair without a common seed stands alone."""
    seeds = list(dict.fromkeys(entry.seed for pair in pairs for entry in pair))
    paired = all(first.seed == second.seed for first, second in pairs)
    of_seeds = f"seed{'s' * (len(seeds) > 1)} {(', ' if paired else ' and ').join(map(str, seeds))}"
    sides = list(zip(*pairs, strict=True))
    vectors = None if metric.split == "train" else _same_images(sides, metric.split, problems)
    if vectors is None:
        a, b = (float(np.mean([entry.value(metric) for entry in side])) for side in sides)
        images = [side[0].num_images(metric.split) for side in sides]
        return _Tested(
            statistics.two_proportions(a, b, *images), f"z test, {of_seeds}", "Cohen's h"
        )
    test = f"{of_seeds}, {len(vectors[0][0])} images"
    if len(pairs) > 1:
        shares = [np.mean(side, axis=0) for side in vectors]
        return _Tested(statistics.paired_t(*shares), f"paired t over images, {test}", "Cohen's d_z")
    correct = [side[0] for side in vectors]
    estimate = Difference(
        float(correct[0].mean() - correct[1].mean()),
        *statistics.paired_bootstrap(*correct),
        statistics.mcnemar(*correct),
        statistics.cohens_g(*correct),
    )
    return _Tested(estimate, f"McNemar mid-p, {test}", "Cohen's g")


def _same_images(
    sides: list[tuple[Entry, ...]], split: str, problems: list[str]
) -> list[list[np.ndarray]] | None:
    """Return which images each cell of each side gets right, or None if they are not the same."""
    found = [[_correct(entry, split, problems) for entry in side] for side in sides]
    cells = [cell for side in found for cell in side]
    if any(cell is None or not np.array_equal(cell[0], cells[0][0]) for cell in cells):
        return None
    return [[correct for _, correct in side] for side in found]


def _correct(entry: Entry, split: str, problems: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return `(n,)` positions of images and whether each is taken right; None without a file."""
    path = entry.cell.folder / f"embeddings-{split}.npz"
    if not path.exists():
        return None
    try:
        with np.load(path) as arrays:
            indices, labels, logits = arrays["indices"], arrays["labels"], arrays["logits"]
        if not (logits.ndim == 2 and indices.shape == labels.shape == logits.shape[:1]):
            raise ValueError("arrays that do not belong together")
    except UNREADABLE as error:
        problem = f"{path}: not a file of predictions ({error})"
        if problem not in problems:
            problems.append(problem)
        return None
    return indices, logits.argmax(1) == labels


def _judge_all(
    group: str,
    pairs: dict[int, list[Pair]],
    test: Callable[[int, Pair], _Tested | None],
) -> list[ClaimResult]:
    tested = [(number, pair, test(number, pair)) for number in pairs for pair in pairs[number]]
    made = [(number, pair, found) for number, pair, found in tested if found is not None]
    corrected = statistics.holm([found.estimate.p for _, _, found in made])
    comparisons: dict[int, list[Comparison]] = {number: [] for number in pairs}
    for (number, pair, found), p_corrected in zip(made, corrected, strict=True):
        estimate = found.estimate
        comparisons[number].append(
            Comparison(
                name=pair.name,
                metric=METRIC_TITLES[pair.metric],
                difference=estimate.difference,
                low=estimate.low,
                high=estimate.high,
                effect_size=estimate.effect_size,
                effect=found.effect,
                test=found.test,
                p=estimate.p,
                p_corrected=p_corrected,
            )
        )
    return [
        _result(
            number,
            group,
            comparisons[number],
            [
                f"{row_title(pair.better)} against {row_title(pair.worse)}"
                for n, pair, found in tested
                if n == number and found is None
            ],
        )
        for number in pairs
    ]


def _result(
    number: int, group: str, comparisons: list[Comparison], without_data: list[str]
) -> ClaimResult:
    verdict = judge(number, comparisons, complete=not without_data)
    return ClaimResult(
        number,
        CLAIMS[number],
        group,
        verdict,
        _sentence(number, verdict, comparisons, len(without_data)),
        comparisons,
        without_data,
    )


def judge(number: int, comparisons: list[Comparison], *, complete: bool) -> str:
    """Return a claim's verdict by the rules above; `complete`: every comparison could be made."""
    if not comparisons:
        return NO_DATA
    if number == NO_IMPROVEMENT:
        if any(is_significant(each) and each.difference > 0 for each in comparisons):
            return CONTRADICTED
        return HOLDS if complete and all(each.high < MARGIN for each in comparisons) else UNDECIDED
    if any(is_significant(each) and each.difference < 0 for each in comparisons):
        return CONTRADICTED
    positive = all(is_significant(each) and each.difference > 0 for each in comparisons)
    return HOLDS if complete and positive else UNDECIDED


def is_significant(comparison: Comparison) -> bool:
    """Whether a difference is significant at 5 % after correction."""
    return comparison.p_corrected < SIGNIFICANCE


def _sentence(
    number: int, verdict: str, comparisons: list[Comparison], num_without_data: int
) -> str:
    if verdict == NO_DATA:
        return f"Claim {number} has no data: none of its comparisons has cells on both sides."
    said = {HOLDS: "holds", CONTRADICTED: "is contradicted", UNDECIDED: "is undecided"}[verdict]
    text = f"Claim {number} {said}: "
    if len(comparisons) <= 3:
        text += "; ".join(_phrase(each) for each in comparisons)
    else:
        positive = sum(is_significant(each) and each.difference > 0 for each in comparisons)
        negative = sum(is_significant(each) and each.difference < 0 for each in comparisons)
        least = min(comparisons, key=lambda each: each.difference)
        text += (
            f"{positive} of {len(comparisons)} differences are significantly positive and "
            f"{negative} significantly negative; the least is {_phrase(least)}"
        )
    if num_without_data:
        text += f"; {num_without_data} more comparison(s) have no data"
    return text + "."


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
