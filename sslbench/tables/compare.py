"""Two rows of cells against each other: which test their seeds allow, and on which images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sslbench.cell.embeddings import EMBEDDINGS, read_predictions
from sslbench.paper import Metric
from sslbench.tables import statistics
from sslbench.tables.gather import Cell
from sslbench.tables.statistics import Difference, Prior, Spread, Trainings

Seeds = Mapping[int, Cell]
"""A row's finished cells by seed."""


@dataclass
class Predictions:
    """Which images cells got right, each file read once; what cannot be read is a problem."""

    problems: list[str]
    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray] | None] = field(default_factory=dict)

    def of(self, cells: list[Cell], split: str) -> list[np.ndarray] | None:
        """Return `(n,)` bools of each cell over the same images; None if not all are known."""
        if split == "train":
            return None
        read = [self._read(cell, split) for cell in cells]
        known = [each for each in read if each is not None]
        is_same = len({cell.record.data.get("fingerprint") for cell in cells}) == 1 and all(
            np.array_equal(indices, known[0][0]) for indices, _ in known
        )
        return [right for _, right in known] if is_same and len(known) == len(cells) else None

    def _read(self, cell: Cell, split: str) -> tuple[np.ndarray, np.ndarray] | None:
        key, path = (cell.cell_id, split), cell.folder / EMBEDDINGS.format(split)
        if key not in self.found:
            self.found[key] = None
            try:
                self.found[key] = read_predictions(path) if path.exists() else None
            except ValueError as error:
                if not any(str(path) in problem for problem in self.problems):
                    self.problems.append(str(error))
        return self.found[key]


class SeedVariance:
    """How trainings of rows vary by their seeds; rows lend each other what they tell.

    One with a collapsed cell neither lends nor borrows, as its variance is one of its own. Rows
    that are `paired` share, by seed, the first weights and the order of images: where all have the
    same seeds, what a seed does to all of them alike is left out.
    """

    def __init__(self, rows: Iterable[Seeds], *, paired: bool = False) -> None:
        rows = [row for row in rows if len(row) > 1]
        is_alike = len({frozenset(row) for row in rows}) == 1 < len(rows)
        self.paired = paired and is_alike and not any(map(_has_collapsed, rows))
        self._rows = [row for row in rows if not _has_collapsed(row)]
        self._priors: dict[Metric, Prior | None] = {}
        self._common: dict[Metric, np.ndarray] = {}

    def spread(self, row: Seeds, metric: Metric) -> Spread:
        """Return the variance between trainings of a row of two or more."""
        if metric not in self._priors:
            if self.paired:
                self._common[metric] = np.mean([_values(each, metric) for each in self._rows], 0)
            own = [self._own(each, metric) for each in self._rows]
            known = [each for each in own if not np.isnan(each.variance)]
            self._priors[metric] = statistics.seed_prior(known)
        prior = None if _has_collapsed(row) else self._priors[metric]
        return statistics.moderated(self._own(row, metric), prior)

    def _own(self, row: Seeds, metric: Metric) -> Spread:
        values, degrees = _values(row, metric), len(row) - 1
        if not self.paired:
            return Spread(float(values.var(ddof=1)), degrees)
        # Centring by seed takes one row's worth of freedom from all rows together.
        left = 1 - 1 / len(self._rows)
        return Spread(float((values - self._common[metric]).var(ddof=1)) / left, degrees * left)


def _values(row: Seeds, metric: Metric) -> np.ndarray:
    return np.array([row[seed].value(metric) for seed in sorted(row)], float)


def _has_collapsed(row: Seeds) -> bool:
    return any(cell.collapse for cell in row.values())


def compare(
    a: Seeds, b: Seeds, metric: Metric, predictions: Predictions, variance: SeedVariance
) -> Difference | None:
    """Test the difference of two rows; None if one has no cells.

    With two or more seeds each, seeds and images are both in the test. Else the first common seed's
    cells are compared over the same images, or by shares where predictions are not known.
    """
    if not a or not b:
        return None
    if min(len(a), len(b)) > 1:
        spreads = [variance.spread(row, metric) for row in (a, b)]
        sides = _trainings([a, b], metric, predictions)
        return statistics.seeds_and_images(*sides, spreads, paired=variance.paired)
    common = sorted(a.keys() & b.keys())
    pair = [cells[min(common or cells)] for cells in (a, b)]
    seeds = " and ".join(dict.fromkeys(str(cell.seed) for cell in pair))
    right = predictions.of(pair, metric.split)
    if right is None:
        shares = [cell.value(metric) for cell in pair]
        found = statistics.two_proportions(*shares, *[c.num_images(metric.split) for c in pair])
        return found._replace(test=f"{found.test}, seed {seeds}")
    found = statistics.same_images(*right)
    return found._replace(test=f"{found.test}, seed {seeds}, {len(right[0])} images")


def _trainings(
    sides: list[Seeds], metric: Metric, predictions: Predictions
) -> tuple[Trainings, Trainings]:
    cells = [[side[seed] for seed in sorted(side)] for side in sides]
    right = predictions.of(cells[0] + cells[1], metric.split)
    num_a = len(cells[0])
    halves = [None, None] if right is None else [np.array(right[:num_a]), np.array(right[num_a:])]
    a, b = (
        Trainings(
            np.array([cell.value(metric) for cell in side]), half, side[0].num_images(metric.split)
        )
        for side, half in zip(cells, halves, strict=True)
    )
    return a, b
