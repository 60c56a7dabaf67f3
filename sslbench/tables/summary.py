"""A metric of one row over its seeds: as numbers for CSV files, and as text for tables."""

from typing import Any

import numpy as np

from sslbench.cell.record import DONE
from sslbench.tables import statistics
from sslbench.tables.gather import Cell
from sslbench.tables.groups import MIN_SEEDS, Group
from sslbench.tables.paper import Metric, Reported, Row, model_title

Summary = dict[str, Any]
"""The columns of a CSV file; accuracies are fractions, None where there is nothing."""


def summarize(group: Group, row: Row, metric: Metric, reported: Reported | None = None) -> Summary:
    """Return one metric of a row over its seeds, beside the paper's where there is one.

    The paper's is None for groups that may not be set against it.
    """
    cells = list(group.done(row).values())
    found = [value for cell in cells if (value := cell.value(metric)) is not None]
    mean = float(np.mean(found)) if found else None
    low, high, interval = _interval(found, cells, metric)
    paper = (reported or {}).get(row, {}).get(metric) if group.is_paper else None
    return {
        "model": row.model,
        "method": row.method,
        "ratio": row.ratio,
        "from": row.init,
        "metric": metric.title,
        "paper": paper,
        "mean": mean,
        "deviation": float(np.std(found, ddof=1)) if len(found) > 1 else None,
        "low": low,
        "high": high,
        "interval": interval,
        "difference": None if paper is None or mean is None else mean - paper,
        "n": len(found),
        "state": state_text(group, row),
    }


def _interval(
    found: list[float], cells: list[Cell], metric: Metric
) -> tuple[float | None, float | None, str | None]:
    """Return the bounds of an interval and its kind: `t` over seeds, `Wilson` over images."""
    is_loss = metric.name == "loss"
    # Accuracies that are all alike, by the coarseness of few images, show no certainty.
    if len(set(found)) > 1 or (is_loss and len(found) > 1):
        low, high = statistics.t_interval(found)
        if not is_loss:  # few seeds may lead beyond what a share can be
            low, high = max(low, 0.0), min(high, 1.0)
        return low, high, "t"
    if is_loss or not found:
        return None, None, None
    split = metric.name if metric.split == "knn" else metric.split
    return *statistics.wilson_interval(found[0], cells[0].num_images(split)), "Wilson"


def state_text(group: Group, row: Row) -> str:
    """Say what is wrong with a row's cells: missing, n<3, or states other than done; else done."""
    states = group.states(row)
    if not states:
        return "missing"
    parts = ["done" if states[DONE] >= MIN_SEEDS else f"n<{MIN_SEEDS}"] if states[DONE] else []
    return ", ".join(
        parts + [f"{n} {state}" for state, n in sorted(states.items()) if state != DONE]
    )


def display(summary: Summary, metric: Metric, *, is_paper: bool) -> dict[str, Any]:
    """Return a table's row: what is to be shown of a summary."""
    shown = {
        "model": model_title(summary["model"]),
        "ratio": summary["ratio"] or "",
        "from": summary["from"] or "",
        "metric": summary["metric"],
    }
    if is_paper:
        shown["paper"] = number_text(summary["paper"], metric)
    shown["ours"] = mean_text(summary, metric)
    shown["95 % interval"] = interval_text(summary, metric)
    if is_paper:
        difference = summary["difference"]
        shown["difference"] = "" if difference is None else number_text(difference, metric, "+")
    return shown | {"n": summary["n"], "state": summary["state"]}


def number_text(value: float | None, metric: Metric, sign: str = "") -> str:
    """Write an accuracy in percent, a loss as it is, nothing as a dash."""
    if value is None:
        return "-"
    return f"{value if metric.name == 'loss' else 100 * value:{sign}.2f}"


def mean_text(summary: Summary, metric: Metric) -> str:
    """Write mean ± standard deviation, or the mean alone."""
    mean, deviation = summary["mean"], summary["deviation"]
    text = number_text(mean, metric)
    return text if deviation is None else f"{text} ± {number_text(deviation, metric)}"


def interval_text(summary: Summary, metric: Metric) -> str:
    """Write an interval; * marks Wilson's over images."""
    if summary["low"] is None:
        return ""
    mark = "*" if summary["interval"] == "Wilson" else ""
    bounds = (number_text(summary[name], metric) for name in ("low", "high"))
    return f"[{', '.join(bounds)}]{mark}"
