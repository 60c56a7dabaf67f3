"""Two rows of cells compared by the strongest test that their seeds and files allow.

Where they have three or more seeds in common, seeds are paired (t-test). With fewer, the cells are
compared over the same images: one seed's by McNemar's mid-p (the interval is a paired bootstrap),
two seeds' by a paired t-test of how often each image is taken right. Where predictions are not kept
(training accuracy), they are compared as independent shares (z test).
"""

import numpy as np

from sslbench.cell.embeddings import EMBEDDINGS, read_predictions
from sslbench.tables import statistics
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS
from sslbench.tables.paper import Metric
from sslbench.tables.statistics import Difference


def compare(
    a: dict[int, Cell], b: dict[int, Cell], metric: Metric, problems: list[str]
) -> Difference | None:
    """Test the difference of two rows' finished cells, each by seed; None if one has none.

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
    # Without a common seed, one of each stands alone.
    sides = [[cells[seed] for seed in common] or [cells[min(cells)]] for cells in (a, b)]
    seeds = list(dict.fromkeys(cell.seed for side in sides for cell in side))
    names = (", " if common else " and ").join(map(str, seeds))
    of_seeds = f"seed{'s' * (len(seeds) > 1)} {names}"
    right = None if metric.split == "train" else _same_images(sides, metric.split, problems)
    if right is None:
        shares = [float(np.mean([cell.value(metric) for cell in side])) for side in sides]
        sizes = [side[0].num_images(metric.split) for side in sides]
        found = statistics.two_proportions(*shares, *sizes)
        return found._replace(test=f"{found.test}, {of_seeds}")
    if len(common) > 1:
        found = statistics.paired_t(*(side.mean(axis=0) for side in right))
        found = found._replace(test="paired t over images")
    else:
        found = statistics.same_images(*(side[0] for side in right))
    return found._replace(test=f"{found.test}, {of_seeds}, {right[0].shape[1]} images")


def _same_images(
    sides: list[list[Cell]], split: str, problems: list[str]
) -> list[np.ndarray] | None:
    """Return which images each side's cells get right, `(cells, n)` bools; None if unknown."""
    found = []
    for path in (cell.folder / EMBEDDINGS.format(split) for side in sides for cell in side):
        try:
            found += [read_predictions(path)] if path.exists() else []
        except ValueError as error:
            problems += [str(error)] if str(error) not in problems else []
    indices, right = zip(*found, strict=True) if found else ((), ())
    if len(found) < 2 * len(sides[0]) or any(not np.array_equal(i, indices[0]) for i in indices):
        return None
    return np.split(np.array(right), 2)
