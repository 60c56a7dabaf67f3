"""Every number of a report on a small grid, against an independent script over its records."""

import json
from itertools import pairwise

import pandas as pd
import pytest
from helpers import recompute
from helpers.synthetic import make_cell

from sslbench.tables.assemble import build_report, write_report

MODELS = ("convnet", "resnet18", "wrn45_2")
TITLES = {"convnet": "ConvNet", "resnet18": "ResNet18", "wrn45_2": "WRN-45-2"}
WAVER = (0.0, 0.02, -0.015)
SPLITS = {"train acc": "train", "val acc": "val", "test acc": "test", "k-NN test acc": "knn"}
RATIOS = ("1:1", "1:5", "1:20")
THRESHOLD = {"method.threshold": 0.9}
WAYS = [("supervised", None, None), ("barlow", "1:20", None), ("semi", "1:20", None)]
WAYS += [("semi", "1:20", "barlow")]


def row(way, model):
    method, ratio, start = way
    return method, MODELS[model], ratio, start


def claimed_pairs():
    """Yield each comparison of the claims: its number, the better row, the worse, the split."""
    supervised, barlow, semi, started = WAYS
    for number, way in enumerate((supervised, barlow, semi), start=1):
        yield number, row(way, 2), row(way, 1), "test"
        yield number, row(way, 1), row(way, 0), "test"
    yield 4, row(semi, 2), row(supervised, 2), "test"
    yield from ((5, row(semi, model), row(barlow, model), "test") for model in range(3))
    for split in ("train", "val"):
        for model in range(3):
            for less, more in pairwise(RATIOS):
                ways = ("semi", more, None), ("semi", less, None)
                yield 6, row(ways[0], model), row(ways[1], model), split
    yield from ((7, row(started, model), row(semi, model), "test") for model in range(3))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Three seeds of the paper's rows, of which one training guesses, and of an ablation's."""
    outputs = tmp_path_factory.mktemp("grid")
    accuracies = {"supervised": 0.5, "barlow": 0.4, "semi": 0.55}
    ways = [*WAYS, ("semi", "1:1", None), ("semi", "1:5", None)]
    starts = {}
    for number, (method, ratio, start) in enumerate(ways):
        for m, model in enumerate(MODELS):
            for seed in range(3):
                reached = accuracies[method] + 0.07 * m + WAVER[seed] * (1 + (m + number) % 3)
                reached += 0.02 * (number % 4)
                is_collapsed = (method, model, ratio, seed) == ("semi", "resnet18", "1:20", 1)
                folder = make_cell(
                    *(outputs, model, method, ratio or "1:20"),
                    accuracy=0.1 if is_collapsed and not start else reached,
                    **{"data": "stl10", "seed": seed, "generator": m + 3 * number},
                    **{"num_images": (60, 300), "files": True},
                    start=starts[model, seed] if start else None,
                )
                if method == "barlow":
                    starts[model, seed] = folder.name
    for seed, accuracy in enumerate((0.62, 0.6, 0.63)):
        more = {"data": "stl10", "seed": seed, "accuracy": accuracy, "changes": THRESHOLD}
        make_cell(outputs, "convnet", "semi", **more, num_images=(60, 300), files=True)
    found = build_report(outputs)
    write_report(found)
    return found


@pytest.fixture(scope="module")
def rows(report):
    return recompute.read_rows(report.outputs)


TABLES = {"table1": (WAYS[:1], 3), "table2": (WAYS[1:2], 4), "table3": (WAYS[2:3], 3)}
TABLES |= {"table4": ([("semi", ratio, None) for ratio in RATIOS], 3), "ssl_init": (WAYS[3:], 3)}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name, report, rows):
    ways, num_metrics = TABLES[name]
    lines = pd.read_csv(report.folder / f"{name}.csv")
    assert len(lines) == num_metrics * 3 * len(ways)
    shown = (report.folder / f"{name}.md").read_text().replace("\\", "")
    for line in lines.itertuples():
        (ratio,) = {ratio for _, ratio, _ in ways if ratio in (None, line.ratio)}
        seeds = rows[ways[0][0], line.model, ratio, ways[0][2]]
        split = SPLITS[line.metric]
        mean, low, high = recompute.mean_of(rows, seeds, split)
        assert (line.mean, line.low, line.high) == pytest.approx((mean, low, high), abs=1e-9)
        values = [recompute.value(cell, split) for cell in seeds.values()]
        assert line.deviation == pytest.approx(pd.Series(values).std())
        assert f"{100 * mean:.2f} [{100 * low:.1f}, {100 * high:.1f}]" in shown


@pytest.mark.parametrize("name", TABLES)
def test_losses(name, report, rows):
    ways, _ = TABLES[name]
    lines = pd.read_csv(report.folder / f"{name}-loss.csv")
    assert len(lines) == 3 * len(ways)
    for line in lines.itertuples():
        (ratio,) = {ratio for _, ratio, _ in ways if ratio in (None, line.ratio)}
        expected = recompute.loss_of(rows[ways[0][0], line.model, ratio, ways[0][2]])
        assert (line.mean, line.low, line.high) == pytest.approx(expected)


def test_an_ablation(report, rows):
    """Two lines whose seeds are pairs; each metric is corrected by itself, over one difference."""
    (name,) = (table.name for table in report.tables if table.name.startswith("ablation"))
    lines = pd.read_csv(report.folder / f"{name}.csv").set_index(["method.threshold", "metric"])
    base = rows["semi", "convnet", "1:20", None]
    (changed,) = recompute.read_rows(report.outputs, THRESHOLD).values()
    for metric, split in list(SPLITS.items())[:3]:
        line = lines.loc[0.9, metric]
        found = line[["difference", "difference_low", "difference_high", "p_corrected"]]
        expected = recompute.paired_difference(changed, base, split)
        assert found.tolist() == pytest.approx(expected, rel=1e-6)
        reached = [recompute.value(cell, split) for cell in changed.values()]
        assert line["mean"] == pytest.approx(sum(reached) / 3)


@pytest.mark.parametrize("without_collapsed", [False, True])
def test_claims(report, rows, without_collapsed):
    claims = json.loads((report.folder / "report.json").read_text())["claims"][7:]
    if without_collapsed:
        claims = [claim["without_collapsed"] or claim for claim in claims]
        rows = {
            row: {seed: cell for seed, cell in seeds.items() if not recompute.is_chance(cell)}
            for row, seeds in rows.items()
        }
    expected = []
    for number, better, worse, split in claimed_pairs():
        sides = rows[better], rows[worse]
        expected.append((number, *recompute.difference_of(rows, *sides, split)))
    corrected = recompute.holm([each[-1] for each in expected])
    of_collapsed = (3, 5, 6, 7)
    collapsed = [each for each in claims if each["number"] in of_collapsed]
    assert all(bool(claim["without_collapsed"]) != without_collapsed for claim in collapsed)
    for claim in claims:
        if without_collapsed and claim["number"] not in of_collapsed:
            continue
        found = [
            (test["difference"], test["low"], test["high"], test["p"], test["p_corrected"])
            for test in claim["tests"]
        ]
        ours = [
            (*each[1:], p)
            for each, p in zip(expected, corrected, strict=True)
            if each[0] == claim["number"]
        ]
        assert len(found) == len(ours)
        for mine, theirs in zip(found, ours, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_the_first_table_and_the_words_are_of_the_same_numbers(report, rows):
    contents = json.loads((report.folder / "report.json").read_text())
    for line, way in zip(contents["first_table"]["lines"], WAYS, strict=True):
        for place, model in zip(line["places"], range(3), strict=True):
            expected = recompute.mean_of(rows, rows[row(way, model)], "test")
            assert (place["ours"], place["low"], place["high"]) == pytest.approx(expected)
            assert (place["model"], place["num_seeds"]) == (TITLES[MODELS[model]], 3)
    sides = rows[row(WAYS[2], 2)], rows[row(WAYS[0], 2)]
    difference, _, high, _ = recompute.difference_of(rows, *sides, "test")
    words = f"{100 * abs(difference):.1f} points above supervised (95 % of seeds and images: "
    assert words in contents["claims"][7 + 3]["sentence"]
    assert f"{100 * high:.1f}" in contents["claims"][7 + 3]["sentence"]
    assert contents["collapsed"] == {"ResNet18 semi-supervised 1:20, seed 1": "10.0 %, chance"}
