"""The report's numbers again, from records and predictions alone: none of the package's code."""

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import special, stats


def read_rows(outputs: Path, changes: dict | None = None) -> dict[tuple, dict[int, dict]]:
    """Return finished cells with these changes by seed, under method, model, ratio and start."""
    rows = defaultdict(dict)
    for path in sorted(outputs.glob("cells/*/record.json")):
        record = json.loads(path.read_text())
        if record["status"] != "done" or record["changes"] != (changes or {}):
            continue
        settings = record["settings"]
        ratio = settings["ratio"]["name"] if "unlabeled" in record["streams"] else None
        cell = {"results": record["results"], "data": record["data"]}
        for split in ("val", "test"):
            with np.load(path.parent / f"embeddings-{split}.npz") as arrays:
                cell[split] = arrays["logits"].argmax(1) == arrays["labels"]
        start = (settings["init"]["from"] or "").partition("-")[0] or None
        row = settings["method"]["name"], settings["model"]["name"], ratio, start
        rows[row][settings["seed"]] = cell
    return dict(rows)


def value(cell: dict, split: str) -> float | None:
    """Return an accuracy; with `knn` that of test images by their neighbours, if there is one."""
    if split == "knn":
        return cell["results"].get("knn", {}).get("test")
    return cell["results"][split]["accuracy"]


def loss_of(seeds: dict) -> tuple[float, float, float]:
    """Return a row's mean training loss with Student's interval over its seeds."""
    losses = [cell["results"]["train"]["loss"] for cell in seeds.values()]
    mean, error = np.mean(losses), np.std(losses, ddof=1) / math.sqrt(len(losses))
    margin = stats.t.ppf(0.975, len(losses) - 1) * error
    return mean, mean - margin, mean + margin


def is_chance(cell: dict) -> bool:
    """Whether guessing one of ten equal classes does as well, once in a hundred times."""
    right, number = int(cell["test"].sum()), len(cell["test"])
    return stats.binomtest(right, number, 0.1, alternative="greater").pvalue > 0.01


def prior_of(rows: dict, split: str) -> tuple[float, float, float] | None:
    """Fit the variance between seeds: its value, what it is worth, and what all are worth."""
    found = []
    for seeds in rows.values():
        if len(seeds) > 1 and not any(map(is_chance, seeds.values())):
            values = [value(cell, split) for cell in seeds.values()]
            if None in values:
                continue
            found.append((np.var(values, ddof=1), len(values) - 1))
    if len(found) < 2:
        return None
    total = sum(d for _, d in found)
    pooled = sum(v * d for v, d in found) / total
    logs = [
        math.log(max(v, pooled / 1000)) - special.psi(d / 2) + math.log(d / 2) for v, d in found
    ]
    spread = np.var(logs, ddof=1) - np.mean([special.zeta(2, d / 2) for _, d in found])
    if spread <= special.zeta(2, total / 2):
        return pooled, math.inf, total
    low, high = 1e-6, total
    while high - low > 1e-13 * high:  # trigamma, which is zeta(2, x), falls
        middle = (low + high) / 2
        low, high = (middle, high) if special.zeta(2, middle) > spread else (low, middle)
    return math.exp(np.mean(logs) + special.psi(low) - math.log(low)), 2 * low, total


def spread_of(rows: dict, seeds: dict, split: str) -> tuple[float, float, float]:
    """Return a row's variance between seeds, its degrees of freedom, and the most there are."""
    values = [value(cell, split) for cell in seeds.values()]
    own, degrees = np.var(values, ddof=1), len(values) - 1
    prior = prior_of(rows, split)
    if prior is None or any(map(is_chance, seeds.values())):
        return own, degrees, math.inf
    common, worth, most = prior
    if worth == math.inf:
        return common, most, most
    return (own * degrees + common * worth) / (degrees + worth), min(degrees + worth, most), most


def difference_of(rows: dict, a: dict, b: dict, split: str) -> tuple[float, float, float, float]:
    """Return a difference of two rows of several seeds, its interval and p."""
    means = [np.mean([value(cell, split) for cell in side.values()]) for side in (a, b)]
    spreads = [(spread_of(rows, side, split), len(side)) for side in (a, b)]
    parts = [(v / number, d, most) for (v, d, most), number in spreads]
    of_seeds = sum(v for v, _, _ in parts)
    free = of_seeds**2 / sum(v**2 / d for v, d, _ in parts) if of_seeds else 1.0
    free = min(free, *(most for _, _, most in parts))
    if split == "train":
        number = next(iter(a.values()))["data"]["num_labeled"]
        of_images = sum(m * (1 - m) / number for m in means)
    else:
        tables = [np.array([cell[split] for cell in side.values()], float) for side in (a, b)]
        number = tables[0].shape[1]
        gaps = tables[0].mean(0) - tables[1].mean(0)
        noise = 0.0
        for table in tables:
            n = len(table)
            p = table.mean(0)
            noise += (n / (n - 1) * p * (1 - p)).mean() / n  # variance of zeros and ones
        of_images = max(0, ((gaps - gaps.mean()) ** 2).sum() / (number - 1) - noise) / number
    total = of_seeds + of_images
    both = total**2 / (of_seeds**2 / free + of_images**2 / number)
    difference, error = means[0] - means[1], math.sqrt(total)
    margin = stats.t.ppf(0.975, both) * error
    p = 2 * stats.t.sf(abs(difference / error), both)
    return difference, max(-1, difference - margin), min(1, difference + margin), p


def paired_difference(a: dict, b: dict, split: str) -> tuple[float, float, float, float]:
    """Return the difference of two rows whose seeds are pairs, its interval and p."""
    gaps = np.array([value(a[seed], split) - value(b[seed], split) for seed in sorted(a)])
    number = len(gaps)
    of_seeds = gaps.var(ddof=1) / number
    if split == "train":
        size = next(iter(a.values()))["data"]["num_labeled"]
        means = [np.mean([value(cell, split) for cell in side.values()]) for side in (a, b)]
        of_images = sum(m * (1 - m) / size for m in means)
    else:
        table = np.array([a[seed][split].astype(float) - b[seed][split] for seed in sorted(a)])
        size = table.shape[1]
        noise = table.var(0, ddof=1).mean() / number
        of_images = max(0, table.mean(0).var(ddof=1) - noise) / size
    total = of_seeds + of_images
    free = total**2 / (of_seeds**2 / (number - 1) + of_images**2 / size)
    error = math.sqrt(total)
    margin = stats.t.ppf(0.975, free) * error
    p = 2 * stats.t.sf(abs(gaps.mean() / error), free)
    return gaps.mean(), gaps.mean() - margin, gaps.mean() + margin, p


def mean_of(rows: dict, seeds: dict, split: str) -> tuple[float, float, float]:
    """Return a row's mean accuracy and its interval."""
    values = [value(cell, split) for cell in seeds.values()]
    mean = float(np.mean(values))
    data = next(iter(seeds.values()))["data"]
    number = data[{"train": "num_labeled", "knn": "num_test"}.get(split, f"num_{split}")]
    if len(values) == 1:
        z = stats.norm.ppf(0.975)
        centre = (mean + z**2 / (2 * number)) / (1 + z**2 / number)
        root = math.sqrt(mean * (1 - mean) / number + z**2 / (4 * number**2))
        margin = z * root / (1 + z**2 / number)
        return mean, centre - margin, centre + margin
    variance, degrees, _ = spread_of(rows, seeds, split)
    of_seeds, of_images = variance / len(values), mean * (1 - mean) / number
    total = of_seeds + of_images
    free = total**2 / (of_seeds**2 / degrees + of_images**2 / number)
    margin = stats.t.ppf(0.975, free) * math.sqrt(total)
    return mean, max(0, mean - margin), min(1, mean + margin)


def holm(p: list[float]) -> list[float]:
    """Correct p-values: the k-th smallest of m by m - k + 1, and none below a smaller one's."""
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, least = [0.0] * len(p), 0.0
    for k, place in enumerate(order):
        least = max(least, (len(p) - k) * p[place])
        corrected[place] = min(1.0, least)
    return corrected
