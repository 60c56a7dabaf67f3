"""A row of cells in numbers: means over seeds, their intervals, what is missing or collapsed."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from sslbench import paper
from sslbench.cell.record import DONE
from sslbench.paper import TRAIN_LOSS, Metric, Row
from sslbench.tables import statistics
from sslbench.tables.compare import Seeds, SeedVariance
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS
from sslbench.tables.statistics import IMAGES, SEEDS_AND_IMAGES

SEEDS = "seeds"


def summarize(row: Row, cells: Iterable[Cell], metric: Metric, variance: SeedVariance) -> dict:
    """Return one metric of a row, in the columns of a CSV file: accuracies are fractions."""
    every = list(cells)
    done = {cell.seed: cell for cell in every if cell.status == DONE}
    known = {seed: cell for seed, cell in done.items() if cell.value(metric) is not None}
    found = [cell.value(metric) for cell in known.values()]
    low, high, interval_of = _interval(found, known, metric, variance)
    return {
        **{"model": row.model, "method": row.method, "ratio": row.ratio, "from": row.init},
        **{"metric": metric.title, "mean": float(np.mean(found)) if found else np.nan},
        "deviation": float(np.std(found, ddof=1)) if len(found) > 1 else np.nan,
        **{"low": low, "high": high, "interval_of": interval_of, "n": len(found)},
        **{"state": state(every), "collapsed": "; ".join(collapsed(done.values()))},
    }


def _interval(
    found: list[float], done: Seeds, metric: Metric, variance: SeedVariance
) -> tuple[float, float, str | None]:
    """Return the bounds of a 95 % interval, and what it is of."""
    if metric == TRAIN_LOSS:
        return (*statistics.t_interval(found), SEEDS) if len(found) > 1 else (np.nan, np.nan, None)
    if not found:
        return np.nan, np.nan, None
    split = metric.name if metric.split == paper.KNN.split else metric.split
    num_images = next(iter(done.values())).num_images(split)
    if len(found) == 1:
        return *statistics.wilson_interval(found[0], num_images), IMAGES
    spread = variance.spread(done, metric)
    return *statistics.mean_interval(found, num_images, spread), SEEDS_AND_IMAGES


def state(cells: Iterable[Cell]) -> str:
    """Say what is wrong with a row's cells: missing, n<3, or states other than done; else done."""
    states = Counter(cell.status for cell in cells)
    num_done = states.pop(DONE, 0)
    others = [f"{n} {each}" for each, n in sorted(states.items())]
    done = ["done" if num_done >= MIN_SEEDS else f"n<{MIN_SEEDS}"] if num_done else []
    return ", ".join(done + others) or "missing"


def collapsed(cells: Iterable[Cell]) -> list[str]:
    """Say which of a row's cells are no better than chance: `seed 0: 10.0 %, one class`."""
    return [f"seed {cell.seed}: {cell.collapse}" for cell in cells if cell.collapse]


def or_none(value: Any) -> Any:
    """Return a number as Python's own, and None for one that is not there."""
    return None if isinstance(value, float) and np.isnan(value) else value
