"""Every number of a report on a small grid, against an independent script over its records."""

import json

import pandas as pd
import pytest
from helpers import recompute
from helpers.synthetic import make_cell

from sslbench.tables.assemble import build_report, write_report

MODELS = ("convnet", "resnet18", "wrn45_2")
TITLES = {"convnet": "ConvNet", "resnet18": "ResNet18", "wrn45_2": "WRN-45-2"}
WAVER = (0.0, 0.02, -0.015)
SPLITS = {"train acc": "train", "val acc": "val", "test acc": "test"}
PAIRS = {
    number: [(method, 2, ratio, method, 1, ratio), (method, 1, ratio, method, 0, ratio)]
    for number, method, ratio in (
        (1, "supervised", None),
        (2, "barlow", "1:20"),
        (3, "semi", "1:20"),
    )
}
PAIRS |= {
    4: [("semi", 2, "1:20", "supervised", 2, None)],
    5: [("semi", model, "1:20", "barlow", model, "1:20") for model in range(3)],
}
"""By claim the rows compared, on test images."""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Three seeds of three methods, of which one training of one model guesses, and one seed."""
    outputs = tmp_path_factory.mktemp("grid")
    methods = {"supervised": 0.5, "barlow": 0.4, "semi": 0.55}
    for number, (method, accuracy) in enumerate(methods.items()):
        for m, model in enumerate(MODELS):
            for seed in range(3):
                reached = accuracy + 0.07 * m + WAVER[seed] * (1 + (m + number) % 3)
                is_collapsed = (method, model, seed) == ("semi", "resnet18", 1)
                make_cell(
                    *(outputs, model, method, "1:20"),
                    accuracy=0.1 if is_collapsed else reached,
                    **{"data": "stl10", "seed": seed, "generator": m + 3 * number},
                    **{"num_images": (60, 300), "files": True},
                )
    found = build_report(outputs)
    write_report(found, with_pictures=False)
    return found


@pytest.fixture(scope="module")
def rows(report):
    return recompute.read_rows(report.outputs)


def test_tables(report, rows):
    checked = 0
    for name, method in (("table1", "supervised"), ("table2", "barlow"), ("table3", "semi")):
        lines = pd.read_csv(report.folder / f"{name}.csv")
        for line in lines[lines["metric"].isin(list(SPLITS))].itertuples():
            ratio = None if method == "supervised" else "1:20"
            seeds = rows[method, line.model, ratio]
            mean, low, high = recompute.mean_of(rows, seeds, SPLITS[line.metric])
            assert (line.mean, line.low, line.high) == pytest.approx((mean, low, high), abs=1e-9)
            values = [recompute.value(cell, SPLITS[line.metric]) for cell in seeds.values()]
            assert line.deviation == pytest.approx(pd.Series(values).std())
            checked += 1
    assert checked == 27
    shown = (report.folder / "table1.md").read_text()
    for model in MODELS:
        mean, low, high = recompute.mean_of(rows, rows["supervised", model, None], "test")
        assert rf"{100 * mean:.2f} [{100 * low:.1f}, {100 * high:.1f}]" in shown


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
    for number, pairs in PAIRS.items():
        for a, i, u, b, j, v in pairs:
            sides = rows[a, MODELS[i], u], rows[b, MODELS[j], v]
            expected.append((number, *recompute.difference_of(rows, *sides, "test")))
    corrected = recompute.holm([each[-1] for each in expected])
    collapsed = [each for each in claims if each["number"] in (3, 5)]
    assert all(bool(claim["without_collapsed"]) != without_collapsed for claim in collapsed)
    for claim in claims[:5]:
        if without_collapsed and claim["number"] not in (3, 5):
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
    for line, method in zip(
        contents["first_table"]["lines"], ("supervised", "barlow", "semi"), strict=True
    ):
        for place, model in zip(line["places"], MODELS, strict=True):
            ratio = None if method == "supervised" else "1:20"
            expected = recompute.mean_of(rows, rows[method, model, ratio], "test")
            assert (place["ours"], place["low"], place["high"]) == pytest.approx(expected)
            assert (place["model"], place["num_seeds"]) == (TITLES[model], 3)
    sides = rows["semi", "wrn45_2", "1:20"], rows["supervised", "wrn45_2", None]
    difference, _, high, _ = recompute.difference_of(rows, *sides, "test")
    words = f"{100 * abs(difference):.1f} points above supervised (95 % of seeds and images: "
    assert words in contents["claims"][7 + 3]["sentence"]
    assert f"{100 * high:.1f}" in contents["claims"][7 + 3]["sentence"]
    assert contents["collapsed"] == {"ResNet18 semi-supervised 1:20, seed 1": "10.0 %, chance"}
