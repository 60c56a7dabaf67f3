"""Two rows of cells compared by the strongest test that their seeds and files allow.

Where they have three or more seeds in common, seeds are paired (t-test). With fewer, the cells are
compared over the same images: one seed's by McNemar's mid-p (the interval is a paired bootstrap),
two seeds' by a paired t-test of how often each image is taken right. Where predictions are not kept
(training accuracy), they are compared as independent shares (z test).
"""

import numpy as np

from sslbench.cell.embeddings import read_predictions
from sslbench.tables import statistics
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS
from sslbench.tables.paper import Metric
from sslbench.tables.statistics import Difference

Tested = tuple[Difference, str]
"""A difference, and the name of the test."""


def compare(
    a: dict[int, Cell], b: dict[int, Cell], metric: Metric, problems: list[str]
) -> Tested | None:
    """Test the difference of two rows' finished cells, each by seed; None if one has none.

    Files of predictions that cannot be read are added to `problems`.
    """
    if not a or not b:
        return None
    common = sorted(a.keys() & b.keys())
    if len(common) >= MIN_SEEDS:
        difference = statistics.paired_t(
            *([cells[seed].value(metric) for seed in common] for cells in (a, b))
        )
        # Differences that are all alike by the coarseness of few images show no certainty.
        if difference.low < difference.high:
            return difference, f"paired t, {len(common)} seeds"
    pairs = [(a[seed], b[seed]) for seed in common] or [(a[min(a)], b[min(b)])]
    return _compare_images(pairs, metric, problems)


def _compare_images(pairs: list[tuple[Cell, Cell]], metric: Metric, problems: list[str]) -> Tested:
    """Test cells by the images that they get right; a pair without a common seed stands alone."""
    seeds = list(dict.fromkeys(cell.seed for pair in pairs for cell in pair))
    separator = ", " if all(first.seed == second.seed for first, second in pairs) else " and "
    of_seeds = f"seed{'s' * (len(seeds) > 1)} {separator.join(map(str, seeds))}"
    sides = list(zip(*pairs, strict=True))
    vectors = None if metric.split == "train" else _same_images(sides, metric.split, problems)
    if vectors is None:
        shares = [float(np.mean([cell.value(metric) for cell in side])) for side in sides]
        images = [side[0].num_images(metric.split) for side in sides]
        return statistics.two_proportions(*shares, *images), f"z test, {of_seeds}"
    test = f"{of_seeds}, {len(vectors[0][0])} images"
    if len(pairs) > 1:
        rates = [np.mean(side, axis=0) for side in vectors]
        return statistics.paired_t(*rates), f"paired t over images, {test}"
    return statistics.same_images(*(side[0] for side in vectors)), f"McNemar mid-p, {test}"


def _same_images(
    sides: list[tuple[Cell, ...]], split: str, problems: list[str]
) -> list[list[np.ndarray]] | None:
    """Return which images each cell of each side gets right, or None if they are not the same."""
    found = [[_predictions(cell, split, problems) for cell in side] for side in sides]
    cells = [predictions for side in found for predictions in side]
    if any(each is None or not np.array_equal(each[0], cells[0][0]) for each in cells):
        return None
    return [[correct for _, correct in side] for side in found]


def _predictions(
    cell: Cell, split: str, problems: list[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    path = cell.folder / f"embeddings-{split}.npz"
    if not path.exists():
        return None
    try:
        return read_predictions(path)
    except ValueError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None
