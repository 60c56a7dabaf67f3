"""Differences that the paper claims nothing about, and that our cells show none the less."""

from itertools import combinations

from sslbench import paper
from sslbench.paper import BARLOW, SEMI, SUPERVISED, TEST, Row
from sslbench.tables.compare import Predictions
from sslbench.tables.groups import CHECKPOINT, UNKNOWN, Group, row_order
from sslbench.tables.judge import Pair, cell_test, claim_pairs, tests_of
from sslbench.tables.sentences import difference_in_words, seeds_in_words


def find_findings(group: Group, predictions: Predictions) -> list[str]:
    """Say where rows that differ in one thing differ significantly in test accuracy.

    Corrected by Holm's method over all these comparisons; those of the claims, and cells that are
    no better than chance, are not among them.
    """
    claimed = {frozenset(pair[2:4]) for pair in claim_pairs(of_paper=False)}
    cells = {row: group.sound(row) for row in group.rows}
    rows = sorted((row for row, seeds in cells.items() if seeds), key=_in_papers_order)
    pairs = [
        Pair(0, _named(a, b), a, b, TEST)
        for b, a in combinations(rows, 2)
        if _is_one_step(a, b) and frozenset((a, b)) not in claimed
    ]
    if not pairs:
        return []
    tests = tests_of(pairs, cell_test(cells, predictions))
    found = tests[tests["sign"] != 0]
    columns = ["comparison", "difference", "low", "high", "metric", "interval_of"]
    return [
        f"{difference_in_words(*test[columns])}, on {seeds_in_words([int(test['num_seeds'])])}"
        for _, test in found.iterrows()
    ]


def _in_papers_order(row: Row) -> tuple:
    known = [*paper.METHODS, row.method]
    return known.index(row.method), row.init or "", row_order(row)


def _is_one_step(a: Row, b: Row) -> bool:
    """Whether two rows differ in their model alone, their ratio alone, or how they are trained."""
    if a.model != b.model:
        return a._replace(model="") == b._replace(model="")
    if a.method == b.method:
        return (a.ratio == b.ratio) != (a.init == b.init)
    return a.init is b.init is None and all(
        row.ratio in (None, paper.FULL_RATIO) or row.method != SEMI for row in (a, b)
    )


def _named(a: Row, b: Row) -> str:
    """Name a comparison by what the rows do not share: `ConvNet semi-supervised > supervised`."""
    model, method = paper.title(a.model), paper.title(a.method)
    if a.method != b.method:
        return f"{model} {method} > {paper.title(b.method)}"
    ratio = "" if a.method in (SUPERVISED, BARLOW) else f" {a.ratio or ''}".rstrip()
    if a.model != b.model:
        start = f" {_start(a)}" if a.init else ""
        return f"{model} {method}{ratio}{start} > {paper.title(b.model)}"
    if a.ratio != b.ratio:
        return f"{model} {method} {a.ratio} > {b.ratio}"
    return f"{model} {method}{ratio} {_start(a)} > {_start(b)}"


def _start(row: Row) -> str:
    """Name what a row starts from: `from self-supervised weights`, `from scratch`."""
    if not row.init:
        return "from scratch"
    is_named = row.init.startswith((CHECKPOINT, UNKNOWN))
    return f"from {paper.title(row.init)}{'' if is_named else ' weights'}"
