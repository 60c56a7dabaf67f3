"""Long frames of numbers laid out as the paper's tables are, as texts to be shown."""

import re
from itertools import groupby

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.paper import KNN, TEST, TRAIN, TRAIN_LOSS, VAL
from sslbench.tables.claims import format_p
from sslbench.tables.contents import Ablation
from sslbench.tables.groups import MIN_SEEDS, unlabeled_per_labeled
from sslbench.tables.statistics import IMAGES

PLACE = ("model", "ratio", "from")
LINE = (*PLACE, "method", "settings")
"""What tells the lines of an ablation apart."""
NUMERIC = re.compile(
    r"(([<+-] ?)?[\d.]*( ?\[[^a-z]*\])?\*?( !)?|missing|base line|\d+-\d+|\d+ [a-z]+)"
)
"""What stands right-aligned in a column of numbers."""
OURS, DIFFERENCE, P, SEPARATOR = "ours", "difference", "p", ": "
"""In a column's name between what it is of and whose: `test acc: paper`, `test acc: ours`."""


def by_metric(lines: list[dict], heading: str | None) -> pd.DataFrame:
    """Show a line a row, as the paper's tables 1 to 3; a column is called `metric: whose`."""
    reported = {line["metric"] for line in lines if not np.isnan(line["paper"])}
    shown = []
    for place, of_row in groupby(lines, key=lambda line: [line[name] for name in PLACE]):
        row = dict(
            zip(PLACE, [paper.title(place[0]), *(it or "" for it in place[1:])], strict=True)
        )
        of_row = list(of_row)
        for line in of_row:
            metric = line["metric"]
            if metric in reported:
                row[f"{metric}: {heading}"] = number(line["paper"], metric)
            row[f"{metric}{SEPARATOR}{OURS}"] = with_interval(line)
        shown.append(row | {"seeds": _seeds(of_row), "state": of_row[0]["state"]})
    return _without_constant(pd.DataFrame(shown))


def by_model(lines: list[dict], heading: str | None) -> pd.DataFrame:
    """Show a line a ratio and metric, as the paper's table 4; a column is `model: whose`."""
    models = list(dict.fromkeys(line["model"] for line in lines))
    is_reported = any(not np.isnan(line["paper"]) for line in lines)
    shown = []
    at = {(line["metric"], line["ratio"], line["model"]): line for line in lines}
    for metric in dict.fromkeys(line["metric"] for line in lines):
        for ratio in sorted({line["ratio"] for line in lines}, key=_ratio_order):
            row, found = {"metric": metric, "ratio": ratio}, []
            for model in models:
                line = at.get((metric, ratio, model))
                found += [line] if line else []
                if is_reported:
                    theirs = line["paper"] if line else np.nan
                    row[f"{paper.title(model)}: {heading}"] = number(theirs, metric)
                row[f"{paper.title(model)}{SEPARATOR}{OURS}"] = with_interval(line) if line else "-"
            shown.append(row | {"seeds": _seeds(found)})
    return pd.DataFrame(shown)


def _without_constant(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out what says the same of all lines, and states that the number of seeds tells."""
    places = [name for name in ("ratio", "from") if name in frame]
    constant = [name for name in places if frame[name].nunique() <= 1]
    is_plain = set(frame["state"]) <= {"done", f"n<{MIN_SEEDS}"}
    return frame.drop(columns=constant + ["state"] * is_plain)


def number(value: float, metric: str, sign: str = "", decimals: int = 2) -> str:
    """Write an accuracy in percent, a loss as it is, nothing as a dash."""
    if np.isnan(value):
        return "-"
    return f"{value if metric == TRAIN_LOSS.title else 100 * value:{sign}.{decimals}f}"


def with_interval(line: dict) -> str:
    """Write a mean with its interval, of images alone with a star; what is collapsed with a `!`."""
    mean, metric, state = line["mean"], line["metric"], line["state"]
    if np.isnan(mean):
        return "-" if state.startswith(("done", "n<")) else state
    mark = " !" * bool(line["collapsed"])
    if not line["interval_of"]:
        return number(mean, metric) + mark
    decimals = 2 if metric == TRAIN_LOSS.title else 1
    low, high = (number(line[name], metric, "", decimals) for name in ("low", "high"))
    star = "*" * (line["interval_of"] == IMAGES)
    return f"{number(mean, metric)} [{low}, {high}]{star}{mark}"


def by_setting(ablation: Ablation) -> pd.DataFrame:
    """Show a line for each setting of a row, with its differences from the base line.

    Beside k-NN a page has room for little else: training accuracies, which mean another thing for
    each method, and differences of validation are in the numbers.
    """
    names, shown = ["model", *ablation.columns], []
    lines = ablation.values.to_dict("records")
    has_knn = KNN.title in set(ablation.values["metric"])
    for _, of_line in groupby(lines, key=lambda line: [line[name] for name in LINE]):
        of_line = list(of_line)
        row = {name: of_line[0][name] or "" for name in names}
        row |= {name: paper.title(row[name]) for name in ("model", "method") if name in row}
        at = {line["metric"]: line for line in of_line}
        for metric in (VAL, TEST, KNN) if has_knn else (TRAIN, VAL, TEST):
            name = metric.title
            row[f"{name}{SEPARATOR}{OURS}"] = with_interval(at[name]) if name in at else "-"
        for metric in (TEST,) if has_knn else (VAL, TEST):
            row[f"{metric.title}{SEPARATOR}{DIFFERENCE}"] = _difference(at[metric.title])
            row[f"{metric.title}{SEPARATOR}{P}"] = _p(at[metric.title]["p_corrected"])
        shown.append(row | {"seeds": _seeds(of_line), "state": of_line[0]["state"]})
    return _without_constant(pd.DataFrame(shown))


def _difference(line: dict) -> str:
    if line["is_base"]:
        return "base line"
    if np.isnan(line["difference"]):
        return "-"
    low, high = (number(line[f"difference_{end}"], TEST.title, "+", 1) for end in ("low", "high"))
    star = "*" * (line["difference_of"] == IMAGES)
    return f"{number(line['difference'], TEST.title, '+')} [{low}, {high}]{star}"


def _p(value: float) -> str:
    return "" if np.isnan(value) else format_p(value).removeprefix("= ")


def of_tests(values: pd.DataFrame) -> pd.DataFrame:
    """Show each comparison of the claims with its test."""
    return pd.DataFrame(
        {"claim": each.claim, "comparison": each.comparison, "metric": each.metric}
        | {"difference": number(each.difference, TEST.title, "+")}
        | {"95 % interval": f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]"}
        | {"p": _p(each.p), "corrected p": _p(each.p_corrected)}
        | {"test": each.test, "interval of": each.interval_of, "on": each.on}
        for each in values.itertuples()
    )


def _seeds(lines: list[dict]) -> str:
    """Write how many seeds a line's numbers are of: `3`, or `1-3`."""
    numbers = [line["n"] for line in lines]
    return "-".join(dict.fromkeys(str(each) for each in (min(numbers), max(numbers))))


def _ratio_order(ratio: str) -> tuple[float, str]:
    return unlabeled_per_labeled(ratio), ratio


def alignment(frame: pd.DataFrame) -> list[str]:
    """Return `right` for columns of numbers, with or without their intervals, else `left`."""
    texts = frame.astype(str)
    is_number = [texts[name].map(NUMERIC.fullmatch).notna().all() for name in frame]
    return ["right" if each else "left" for each in is_number]
