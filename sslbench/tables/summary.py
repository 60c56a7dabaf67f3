"""A metric of one row over its seeds: as numbers for CSV files, and as text for tables."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from sslbench.cell.record import DONE
from sslbench.tables import paper, statistics
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS, Group
from sslbench.tables.paper import Metric, Reported, Row

NOTHING = (np.nan, np.nan, None)


def summarize(group: Group, row: Row, metric: Metric, reported: Reported) -> dict[str, Any]:
    """Return the columns of a CSV file for one metric of a row: accuracies are fractions.

    The paper's stands beside it in groups that may be set against it.
    """
    cells = list(group.done(row).values())
    found = [value for cell in cells if (value := cell.value(metric)) is not None]
    mean = np.mean(found) if found else np.nan
    theirs = reported.get(row, {}).get(metric, np.nan) if group.is_paper else np.nan
    low, high, kind = _interval(found, cells, metric)
    place = {"model": row.model, "method": row.method, "ratio": row.ratio, "from": row.init}
    deviation = np.std(found, ddof=1) if len(found) > 1 else np.nan
    ours = {"mean": mean, "deviation": deviation, "low": low, "high": high, "interval": kind}
    return (place | {"metric": metric.title, "paper": theirs} | ours) | {
        "difference": mean - theirs,
        "n": len(found),
        "state": _state(group, row),
    }


def _interval(found: list[float], cells: list[Cell], metric: Metric) -> tuple:
    """Return the bounds of an interval and its kind: `t` over seeds, `Wilson` over images."""
    if metric == paper.TRAIN_LOSS:
        return (*statistics.t_interval(found), "t") if len(found) > 1 else NOTHING
    # Accuracies that are all alike, by the coarseness of few images, show no certainty.
    if len(set(found)) > 1:  # few seeds may lead beyond what a share can be
        return *np.clip(statistics.t_interval(found), 0, 1), "t"
    if not found:
        return NOTHING
    split = metric.name if metric.split == "knn" else metric.split
    return *statistics.wilson_interval(found[0], cells[0].num_images(split)), "Wilson"


def _state(group: Group, row: Row) -> str:
    """Say what is wrong with a row's cells: missing, n<3, or states other than done; else done."""
    states = Counter(cell.status for cell in group.rows.get(row, {}).values())
    num_done = states.pop(DONE, 0)
    others = [f"{n} {state}" for state, n in sorted(states.items())]
    done = ["done" if num_done >= MIN_SEEDS else f"n<{MIN_SEEDS}"] if num_done else []
    return ", ".join(done + others) or "missing"


def show(values: pd.DataFrame, *, beside_paper: bool = False) -> pd.DataFrame:
    """Write summaries as texts: accuracies in percent, losses as they are, nothing as a dash."""
    scale = 100.0 - 99 * (values["metric"] == paper.TRAIN_LOSS.title)

    def texts(column: str, sign: str = "", nothing: str = "-") -> pd.Series:
        scaled = scale * values[column]
        return scaled.map(lambda value: nothing if np.isnan(value) else f"{value:{sign}.2f}")

    shown = values[["model", "ratio", "from", "metric"]].fillna("")
    shown["model"] = shown["model"].map(paper.model_title)
    shown["paper"] = texts("paper")
    deviation = " ± " + texts("deviation")
    shown["ours"] = texts("mean") + deviation.where(values["deviation"].notna(), "")
    # A star marks Wilson's interval.
    star = values["interval"].map({"Wilson": "*"}).fillna("")
    interval = "[" + texts("low") + ", " + texts("high") + "]" + star
    shown["95 % interval"] = interval.where(values["low"].notna(), "")
    shown["difference"] = texts("difference", "+", "")
    shown[["n", "state"]] = values[["n", "state"]]
    constant = [name for name in ("ratio", "from") if shown[name].nunique() <= 1]
    return shown.drop(columns=constant + ([] if beside_paper else ["paper", "difference"]))
