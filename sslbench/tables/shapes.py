"""Long frames of numbers laid out as the paper's tables are, as texts to be shown."""

import re
from typing import Any

import numpy as np
import pandas as pd

from sslbench.tables import paper
from sslbench.tables.claims import format_p
from sslbench.tables.contents import Ablation
from sslbench.tables.groups import MIN_SEEDS, unlabeled_per_labeled
from sslbench.tables.paper import TEST, TRAIN, TRAIN_LOSS, VAL
from sslbench.tables.statistics import IMAGES

NUMERIC = re.compile(r"(([<+-] ?)?[\d.]*( ?\[[^a-z]*\])?\*?( !)?|missing|base line|\d+-\d+)")
"""What stands right-aligned in a column of numbers."""
SEPARATOR = ": "
"""In a column's name between what it is of and whose: `test acc: paper`, `test acc: ours`."""


def by_metric(values: pd.DataFrame, heading: str | None) -> pd.DataFrame:
    """Show a line a row, as the paper's tables 1 to 3; a column is called `metric: whose`."""
    names = ["model", "ratio", "from"]
    lines = []
    for place, of_row in values.fillna({"ratio": "", "from": ""}).groupby(names, sort=False):
        line = dict(zip(names, place, strict=True)) | {"model": paper.title(place[0])}
        for each in of_row.itertuples():
            if heading and values.loc[values["metric"] == each.metric, "paper"].notna().any():
                line[f"{each.metric}: {heading}"] = number(each.paper, each.metric)
            line[f"{each.metric}: ours"] = with_interval(each)
        lines.append(line | {"seeds": _seeds(of_row["n"]), "state": of_row["state"].iloc[0]})
    return _without_constant(pd.DataFrame(lines))


def by_model(values: pd.DataFrame, heading: str | None) -> pd.DataFrame:
    """Show a line a ratio and metric, as the paper's table 4; a column is `model: whose`."""
    lines = []
    places = values["metric"].unique(), sorted(values["ratio"].unique(), key=_ratio_order)
    for metric in places[0]:
        for ratio in places[1]:
            at = values[(values["metric"] == metric) & (values["ratio"] == ratio)]
            line = {"metric": metric, "ratio": ratio}
            for model in values["model"].unique():
                name, found = paper.title(model), at[at["model"] == model]
                if heading and values["paper"].notna().any():
                    line[f"{name}: {heading}"] = number(found["paper"].max(), metric)
                each = next(found.itertuples(), None)
                line[f"{name}: ours"] = "" if each is None else with_interval(each)
            lines.append(line | {"seeds": _seeds(at["n"])})
    return pd.DataFrame(lines)


def _without_constant(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out what says the same of all lines, and states that the number of seeds tells."""
    constant = [name for name in ("ratio", "from") if frame[name].nunique() <= 1]
    is_plain = set(frame["state"]) <= {"done", f"n<{MIN_SEEDS}"}
    return frame.drop(columns=constant + ["state"] * is_plain)


def number(value: float, metric: str, sign: str = "", decimals: int = 2) -> str:
    """Write an accuracy in percent, a loss as it is, nothing as a dash."""
    if np.isnan(value):
        return "-"
    return f"{value if metric == TRAIN_LOSS.title else 100 * value:{sign}.{decimals}f}"


def with_interval(each: Any) -> str:
    """Write a mean with its interval, of images alone with a star; what is collapsed with a `!`."""
    if np.isnan(each.mean):
        return "-" if each.state.startswith(("done", "n<")) else each.state
    mark = " !" * bool(each.collapsed)
    if not each.interval_of:
        return number(each.mean, each.metric) + mark
    decimals = 2 if each.metric == TRAIN_LOSS.title else 1
    low, high = (number(value, each.metric, "", decimals) for value in (each.low, each.high))
    star = "*" * (each.interval_of == IMAGES)
    return f"{number(each.mean, each.metric)} [{low}, {high}]{star}{mark}"


def by_setting(ablation: Ablation) -> pd.DataFrame:
    """Show a line for each setting of a row, with its differences from the base line."""
    values, keys = ablation.values.fillna({"ratio": "", "from": ""}), list(ablation.keys)
    names, lines = ["model", "ratio", "from", *keys], []
    for place, of_line in values.groupby(names, sort=False):
        line = dict(zip(names, place, strict=True)) | {"model": paper.title(place[0])}
        at = {each.metric: each for each in of_line.itertuples()}
        line |= {f"{m.title}: ours": with_interval(at[m.title]) for m in (TRAIN, VAL, TEST)}
        for metric in (VAL, TEST):
            line[f"{metric.title}: difference"] = _difference(at[metric.title])
            line[f"{metric.title}: p"] = _p(at[metric.title].p_corrected)
        lines.append(line | {"seeds": _seeds(of_line["n"]), "state": of_line["state"].iloc[0]})
    return _without_constant(pd.DataFrame(lines))


def _difference(each: Any) -> str:
    if each.is_base:
        return "base line"
    if np.isnan(each.difference):
        return "-"
    bounds = (each.difference_low, each.difference_high)
    low, high = (number(value, each.metric, "+", 1) for value in bounds)
    star = "*" * (each.difference_of == IMAGES)
    return f"{number(each.difference, each.metric, '+')} [{low}, {high}]{star}"


def _p(value: float) -> str:
    return "" if np.isnan(value) else format_p(value).removeprefix("= ")


def of_tests(values: pd.DataFrame) -> pd.DataFrame:
    """Show each comparison of the claims with its test."""
    return pd.DataFrame(
        {"claim": each.claim, "on": each.on, "comparison": each.comparison, "metric": each.metric}
        | {"difference": number(each.difference, TEST.title, "+")}
        | {"95 % interval": f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]"}
        | {"interval of": each.interval_of, "test": each.test}
        | {"p": _p(each.p), "corrected p": _p(each.p_corrected)}
        for each in values.itertuples()
    )


def _seeds(numbers: pd.Series) -> str:
    """Write how many seeds a line's numbers are of: `3`, or `1-3`."""
    return "-".join(dict.fromkeys(str(int(number)) for number in (numbers.min(), numbers.max())))


def _ratio_order(ratio: str) -> tuple[float, str]:
    return unlabeled_per_labeled(ratio), ratio


def alignment(frame: pd.DataFrame) -> list[str]:
    """Return `right` for columns of numbers, with or without their intervals, else `left`."""
    texts = frame.astype(str)
    is_number = [texts[name].map(NUMERIC.fullmatch).notna().all() for name in frame]
    return ["right" if each else "left" for each in is_number]
