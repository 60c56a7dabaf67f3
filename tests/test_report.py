"""The report over made-up cells: what is beside what, what is missing, what is said."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from sslbench.config.presets import compose_settings
from synthetic import CLASSES, SIZES, make_cell, make_settings

from sslbench import report as door
from sslbench.cell.identity import cell_id
from sslbench.cell.record import BLOCKED, DONE, FAILED, INTERRUPTED, load_record
from sslbench.report import build_report, failed_claims, main
from sslbench.tables import claims, paper, statistics
from sslbench.tables.changes import settings_from_dict
from sslbench.tables.claims import CONTRADICTED, HOLDS, NO_DATA, UNDECIDED, Comparison
from sslbench.tables.contents import Table
from sslbench.tables.gather import gather
from sslbench.tables.groups import find_groups, slug
from sslbench.tables.paper import SEMI, TEST, TRAIN, VAL, Row
from sslbench.tables.render import to_latex, to_markdown, to_text, write_table

STEPS = ("steps=40",)


def table_of(report, name):
    return next(table for table in report.tables if table.name == name)


def line_of(table, figure="test acc", **where):
    frame = table.frame
    for column, value in (where | {"figure": figure}).items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def claim_of(report, number, group_has="STL-10"):
    return next(c for c in report.claims if c.number == number and group_has in c.group)


def test_a_table_of_cells_by_different_code_says_so(tmp_path):
    for seed, code in enumerate(("a", "a", "b")):
        folder = make_cell(tmp_path, make_settings("convnet", seed=seed), files=False)
        record = load_record(folder)
        record.runtime["versions"] = {"code": code}
        record.save(folder)
        [table] = build_report(tmp_path).tables
        assert ("trained by 2 versions of the code" in table.note) == (code == "b")


def test_a_method_that_the_paper_has_not_gets_a_table(tmp_path):
    settings = make_settings("convnet", "supervised")
    settings = dataclasses.replace(settings, method=dataclasses.replace(settings.method))
    settings.method.name = "mine"
    make_cell(tmp_path, settings, files=False)
    report = build_report(tmp_path)
    [table] = [table for table in report.tables if table.title.startswith("By mine")]
    assert line_of(table)["model"] == "ConvNet"


# The paper's own figures


def test_papers_figures_are_those_of_its_tables():
    assert paper.TABLE_1[Row("supervised", "wrn45_2")][TEST] == pytest.approx(0.7318)
    assert paper.TABLE_2[Row("barlow", "resnet18", "1:20")][VAL] == pytest.approx(0.3945)
    assert paper.TABLE_3[Row("semi", "convnet", "1:20")][paper.TRAIN_LOSS] == 1.96
    assert paper.TABLE_4[Row("semi", "resnet18", "1:20")][TRAIN] == pytest.approx(0.812)
    sizes = [len(t) for t in (paper.TABLE_1, paper.TABLE_2, paper.TABLE_3, paper.TABLE_4)]
    assert sizes == [3, 3, 3, 9]


def test_verdicts_on_the_papers_own_figures_are_those_derived_by_hand():
    """By hand, z = difference / sqrt(2 p (1 - p) / n) and Holm's factors over 22 comparisons.

    1: 1.50 points of 6,400 images, z = 1.90. 2: -3.53 of 1,600, z = -2.03, p = .043 times 10.
    3: 2.72, z = 3.50, p = .0005 times 14. 4: 1.99, z = 2.57, p = .010 times 11. 5: z > 7.
    6: .08 points of 5,000 is nothing, and no difference is negative. 7: it has no table.
    """
    found = {claim.number: claim for claim in claims.paper_claims()}
    assert {number: claim.verdict for number, claim in found.items()} == {
        1: UNDECIDED,
        2: UNDECIDED,
        3: HOLDS,
        4: UNDECIDED,
        5: HOLDS,
        6: UNDECIDED,
        7: NO_DATA,
    }
    assert sum(len(claim.comparisons) for claim in found.values()) == 22
    order = found[2].comparisons[1]
    assert (order.name, round(order.difference, 4)) == ("ResNet18 > ConvNet", -0.0353)
    assert order.p == pytest.approx(0.0425, abs=5e-4)
    assert order.p_corrected == pytest.approx(10 * order.p)
    assert found[4].comparisons[0].p_corrected == pytest.approx(11 * found[4].comparisons[0].p)
    assert "-3.53 points of val acc" in found[2].sentence


# Verdicts


def compared(difference, p=0.001, high=None):
    bound = difference + 0.005 if high is None else high
    return Comparison("a > b", "test acc", difference, 0.0, bound, 1.0, "d", "t", p, p)


@pytest.mark.parametrize(
    ("number", "comparisons", "complete", "verdict"),
    [
        (1, [], False, NO_DATA),
        (1, [compared(0.1), compared(0.02)], True, HOLDS),
        (1, [compared(0.1), compared(0.02)], False, UNDECIDED),
        (1, [compared(0.1), compared(0.02, p=0.2)], True, UNDECIDED),
        (1, [compared(0.1), compared(-0.02)], True, CONTRADICTED),
        (1, [compared(-0.02)], False, CONTRADICTED),
        (7, [compared(0.001, p=0.8, high=0.009), compared(-0.05)], True, HOLDS),
        (7, [compared(0.001, p=0.8, high=0.009)], False, UNDECIDED),
        (7, [compared(0.001, p=0.8, high=0.011)], True, UNDECIDED),
        (7, [compared(0.005, p=0.01, high=0.009)], True, CONTRADICTED),
    ],
)
def test_verdicts_follow_the_rules(number, comparisons, complete, verdict):
    assert claims.judge(number, comparisons, complete=complete) == verdict


def supervised_seeds(outputs, accuracies, **kwargs):
    for model, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            settings = make_settings(model, data="stl10", seed=seed)
            make_cell(outputs, settings, accuracy=accuracy, **kwargs)


def test_three_common_seeds_are_paired(tmp_path):
    accuracies = {
        "convnet": (0.60, 0.61, 0.59, 0.60),
        "resnet18": (0.71, 0.723, 0.70, 0.71),
        "wrn45_2": (0.75, 0.765, 0.739, 0.749),
    }
    supervised_seeds(tmp_path, accuracies, files=False)
    claim = claim_of(build_report(tmp_path), 1)
    assert claim.verdict == HOLDS
    assert {each.test for each in claim.comparisons} == {"paired t, 4 seeds"}
    assert claim.comparisons[0].difference == pytest.approx(0.04, abs=1e-3)


def test_fewer_seeds_are_compared_over_the_same_images(tmp_path):
    accuracies = {"convnet": (0.60,), "resnet18": (0.70, 0.7), "wrn45_2": (0.69, 0.7)}
    supervised_seeds(tmp_path, accuracies, num_images=(100, 1000))
    claim = claim_of(build_report(tmp_path), 1)
    assert claim.verdict in (UNDECIDED, CONTRADICTED)
    wrn, resnet = claim.comparisons
    assert wrn.test == "paired t over images, seeds 0, 1, 1000 images"
    assert resnet.test == "McNemar mid-p, seed 0, 1000 images"
    assert (wrn.difference, resnet.difference) == pytest.approx((-0.005, 0.1))
    assert resnet.low < 0.1 < resnet.high
    # Pairing tells more than independent shares would.
    assert resnet.high - resnet.low < 2 * 1.96 * np.sqrt(0.6 * 0.4 / 1000)


def test_two_seeds_that_disagree_decide_nothing(tmp_path):
    accuracies = {"convnet": (0.3, 0.7), "resnet18": (0.5, 0.5), "wrn45_2": (0.7, 0.3)}
    supervised_seeds(tmp_path, accuracies, num_images=(100, 1000))
    claim = claim_of(build_report(tmp_path), 1)
    assert claim.verdict == UNDECIDED
    assert [each.difference for each in claim.comparisons] == pytest.approx([0, 0], abs=1e-9)


def test_seeds_that_agree_exactly_show_no_certainty(tmp_path):
    """Other images are right, though as many: the interval is that of the images."""
    for number, model in enumerate(("convnet", "resnet18")):
        for seed in range(3):
            settings = make_settings(model, data="stl10", seed=seed)
            make_cell(tmp_path, settings, accuracy=0.5, generator=number, num_images=(100, 1000))
    (comparison,) = claim_of(build_report(tmp_path), 1).comparisons
    assert comparison.test == "paired t over images, seeds 0, 1, 2, 1000 images"
    assert comparison.difference == pytest.approx(0, abs=1e-9)
    assert comparison.low < -0.002
    assert comparison.high > 0.002


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04torn", None])
def test_unreadable_predictions_are_named_and_shares_compared(content, tmp_path):
    supervised_seeds(tmp_path, {"convnet": (0.6,), "resnet18": (0.7,)})
    path = next(tmp_path.glob("cells/*convnet*/embeddings-test.npz"))
    if content is None:
        np.savez(path, indices=np.arange(3), labels=np.arange(3), logits=np.zeros((4, 10)))
    else:
        path.write_bytes(content)
    report = build_report(tmp_path)
    assert [str(path) in problem for problem in report.problems] == [True]
    assert [each.test for each in claim_of(report, 1).comparisons] == ["z test, seed 0"]


def test_without_predictions_shares_are_compared(tmp_path):
    supervised_seeds(tmp_path, {"convnet": (0.6,), "resnet18": (0.7,)}, files=False)
    claim = claim_of(build_report(tmp_path), 1)
    assert [each.test for each in claim.comparisons] == ["z test, seed 0"]
    assert claim.verdict == UNDECIDED
    assert claim.without_data == ["supervised WRN-45-2 against supervised ResNet18"]


def test_claim_7_compares_with_the_same_seed_from_scratch(tmp_path):
    for model in paper.MODELS:
        for seed in range(4):
            parent = make_settings(model, "barlow", data="stl10", seed=seed)
            scratch = make_settings(model, "semi", data="stl10", seed=seed)
            started = dataclasses.replace(scratch, init={"from": cell_id(parent)})
            make_cell(tmp_path, parent, accuracy=0.4, files=False)
            make_cell(tmp_path, scratch, accuracy=0.7 + 0.01 * seed, files=False)
            make_cell(tmp_path, started, accuracy=0.699 + 0.0101 * seed, files=False)
    report = build_report(tmp_path)
    assert claim_of(report, 7).verdict == HOLDS
    table = table_of(report, "ssl_init")
    assert set(table.frame["state"]) == {"done"}
    assert failed_claims(report, [7]) == []
    assert failed_claims(report, [1, 7]) == ["claim 1 on STL-10, the paper's settings: no data"]


# Tables


def test_ours_stands_beside_the_papers(tmp_path):
    supervised_seeds(tmp_path, {"wrn45_2": (0.74, 0.75, 0.76)}, files=False)
    table = table_of(build_report(tmp_path), "table1")
    line = line_of(table, model="WRN-45-2")
    assert line.to_dict() == {
        "model": "WRN-45-2",
        "figure": "test acc",
        "paper": "73.18",
        "ours": "75.00 ± 1.00",
        "95 % interval": "[72.52, 77.48]",  # 4.303 * 1 / sqrt(3)
        "difference": "+1.82",
        "n": 3,
        "state": "done",
    }
    missing = line_of(table, model="ConvNet")
    assert (missing["paper"], missing["ours"], missing["state"]) == ("59.58", "-", "missing")
    assert table.commands == [
        f"python -m sslbench.train -m model={model} method=supervised data=stl10 seed=0,1,2 "
        f"outputs={tmp_path}"
        for model in ("convnet", "resnet18")
    ]


def test_one_seed_has_a_marked_interval_over_images(tmp_path):
    make_cell(tmp_path, make_settings("convnet", data="stl10"), accuracy=0.6, files=False)
    line = line_of(table_of(build_report(tmp_path), "table1"), model="ConvNet")
    assert (line["ours"], line["state"], line["n"]) == ("60.00", "n<3", 1)
    assert line["95 % interval"] == "[58.79, 61.19]*"


def test_intervals_of_few_seeds_stay_within_what_an_accuracy_can_be(tmp_path):
    for seed, accuracy in enumerate((0.07, 0.12, 0.32)):
        settings = make_settings("convnet", "barlow", data="stl10", seed=seed)
        make_cell(tmp_path, settings, accuracy=accuracy, files=False)
    table = table_of(build_report(tmp_path), "table2")
    for figure in ("train acc", "test acc", "k-NN test acc"):
        assert line_of(table, figure, model="ConvNet")["95 % interval"].startswith("[0.00, ")


def test_seeds_that_are_all_alike_have_an_interval_over_images(tmp_path):
    supervised_seeds(tmp_path, {"convnet": (0.6, 0.6, 0.6)}, files=False)
    line = line_of(table_of(build_report(tmp_path), "table1"), model="ConvNet")
    assert (line["ours"], line["n"]) == ("60.00 ± 0.00", 3)
    assert line["95 % interval"] == "[58.79, 61.19]*"


@pytest.mark.parametrize(("seen", "counted"), [(None, 5000), (128, 128), (5024, 5000)])
def test_train_accuracy_is_a_share_of_the_images_that_the_last_steps_saw(seen, counted, tmp_path):
    for ratio, accuracy in (("1:1", 0.6), ("1:5", 0.65)):
        settings = make_settings("convnet", "semi", ratio, data="stl10")
        folder = make_cell(tmp_path, settings, accuracy=accuracy, files=False)
        record = json.loads((folder / "record.json").read_text())
        if seen is not None:
            record["results"]["train"]["num_images"] = seen
        (folder / "record.json").write_text(json.dumps(record))
    report = build_report(tmp_path)
    line = line_of(table_of(report, "table4"), "train acc", model="ConvNet", ratio="1:1")
    low, high = statistics.wilson_interval(0.61, counted)
    assert line["95 % interval"] == f"[{100 * low:.2f}, {100 * high:.2f}]*"
    (comparison,) = [c for c in claim_of(report, 6).comparisons if c.metric == "train acc"]
    expected = statistics.two_proportions(0.66, 0.61, counted, counted)
    assert comparison.p == pytest.approx(expected.p)
    assert comparison.high == pytest.approx(expected.high)


def test_states_other_than_done_are_shown_and_asked_for_again(tmp_path):
    for seed, status in enumerate((FAILED, INTERRUPTED, BLOCKED)):
        settings = make_settings("convnet", data="stl10", seed=seed)
        make_cell(tmp_path, settings, status=status, files=False)
    running = make_settings("resnet18", data="stl10", seed=1)
    folder = make_cell(tmp_path, running, status=INTERRUPTED, files=False)
    (folder / "record.json").unlink()
    with FileLock(folder / ".lock"):
        table = table_of(build_report(tmp_path), "table1")
    line = line_of(table, model="ConvNet")
    assert line["state"] == "1 blocked, 1 failed, 1 interrupted"
    assert line_of(table, model="ResNet18")["state"] == "1 running"
    assert "model=convnet method=supervised data=stl10 seed=0,1,2" in table.commands[0]
    assert "model=resnet18 method=supervised data=stl10 seed=0,2" in table.commands[1]


@pytest.mark.parametrize(
    ("data", "overrides"),
    [
        ("digits", ()),
        ("stl10", STEPS),
        ("stl10", ("method.epochs=5",)),
        ("stl10", ("data.fold=1",)),
    ],
)
def test_other_data_and_shorter_budgets_are_never_set_against_the_paper(tmp_path, data, overrides):
    settings = make_settings("convnet", data=data, overrides=overrides)
    make_cell(tmp_path, settings, files=False)
    report = build_report(tmp_path)
    (table,) = report.tables
    assert table.name.startswith("table1-")
    assert not {"paper", "difference"} & set(table.frame.columns)
    assert table.values["paper"].isna().all()
    assert all(override in table.title for override in overrides)
    assert not any(claim.on_paper_settings for claim in report.claims)


def test_one_cell_serves_two_tables(tmp_path):
    settings = make_settings("resnet18", "semi", "1:20", data="stl10")
    make_cell(tmp_path, settings, accuracy=0.75, files=False)
    report = build_report(tmp_path)
    in_3 = line_of(table_of(report, "table3"), "val acc", model="ResNet18")
    in_4 = line_of(table_of(report, "table4"), "val acc", model="ResNet18", ratio="1:20")
    assert (in_3["ours"], in_3["paper"], in_3["difference"]) == ("75.00", "73.77", "+1.23")
    assert (in_4["ours"], in_4["paper"], in_4["difference"]) == ("75.00", "75.55", "-0.55")


def test_ratios_are_in_the_order_of_unlabelled_images_per_labelled_one(tmp_path):
    for ratio in ("1:8", "2:13", "1:20", "all"):
        settings = make_settings("convnet", "semi", ratio, overrides=STEPS)
        make_cell(tmp_path, settings, files=False)
    table = build_report(tmp_path).tables[-1]
    ratios = list(dict.fromkeys(table.frame["ratio"][table.frame["model"] == "ConvNet"]))
    assert ratios == ["1:1", "1:5", "1:20", "2:13", "1:8", "all"]  # the paper's come first


def test_ablation_has_a_table_of_its_own(tmp_path):
    for seed in range(2):
        for threshold, accuracy in ((0.0, 0.7), (0.95, 0.8)):
            settings = make_settings(
                "convnet", "semi", seed=seed, overrides=(*STEPS, f"method.threshold={threshold}")
            )
            make_cell(tmp_path, settings, accuracy=accuracy, files=False)
    make_cell(tmp_path, make_settings("resnet18", "semi", overrides=STEPS), files=False)
    report = build_report(tmp_path)
    names = [table.name for table in report.tables]
    assert names == ["table3-digits-the-built-in-stand-in-steps-40", "ablation-digits-semi"]
    frame = report.tables[1].frame
    assert list(frame["method.threshold"]) == ["0.0", "0.95"]
    assert list(frame["test acc"]) == ["70.00 ± 0.00", "80.00 ± 0.00"]
    assert list(frame["n"]) == [2, 2]
    assert "steps" not in frame.columns
    assert line_of(report.tables[0], model="ConvNet")["ours"] == "70.00 ± 0.00"


# Commands and groups


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=wrn37_2", "method=semi", "ratio=1:5", "data=stl10", "optimizer=sgd", "seed=3"),
        (
            "model=convnet",
            "method=semi",
            "ratio=all",
            "augmentation=none",
            "data=digits",
            "steps=9",
        ),
        ("model=wrn45_2", "method=barlow", "data=stl10", "method.projector=[64,64]", "seed=1"),
        ("model=resnet18", "method=barlow", "data=digits", "augmentation.view_a.crop_scale=[.2,1]"),
        ("model=convnet", "method=supervised", "data=stl10", "optimizer=sgd", "optimizer.lr=0.1"),
    ],
)
def test_command_leads_to_the_same_cell(tmp_path, overrides):
    settings = compose_settings(list(overrides))
    make_cell(tmp_path, settings, status=FAILED, files=False)
    (group,), problems = find_groups(gather(tmp_path).cells)
    assert problems == []
    (row,) = group.rows
    words = group.command(row, "outputs").replace("'", "").split()
    assert words[:4] == ["python", "-m", "sslbench.train", "-m"]
    given = [word for word in words[4:] if not word.startswith("seed=")]
    again = compose_settings([*given, f"seed={settings.seed}"])
    assert cell_id(again) == cell_id(settings)


def test_command_from_self_supervised_weights_sweeps(tmp_path):
    start = make_settings("convnet", "barlow")
    make_cell(tmp_path, start, files=False)
    make_cell(tmp_path, make_settings("convnet", "semi", init_from=cell_id(start)), files=False)
    (group,), _ = find_groups(gather(tmp_path).cells)
    assert group.command(Row(SEMI, "convnet", "1:20", "barlow"), "outputs") == (
        "python -m sslbench.train -m model=convnet method=semi ratio=1:20 data=digits "
        "init.from=barlow seed=1,2"
    )


def test_weights_of_a_cell_that_is_not_there_are_not_the_papers_start(tmp_path):
    settings = make_settings("convnet", "semi", init_from="barlow-convnet-1to20-digits-s0-0123abcd")
    make_cell(tmp_path, settings, files=False)
    (group,), _ = find_groups(gather(tmp_path).cells)
    (row,) = group.rows
    assert row.init == "unknown weights"
    assert group.command(row, "outputs") is None


def test_starts_from_different_checkpoints_are_told_apart(tmp_path):
    for path, accuracy in (("a.pt#1a2b3c4d5e6f7081", 0.5), ("b#.pt#90a1b2c3d4e5f607", 0.6)):
        settings = make_settings("convnet", "semi", init_from=f"/weights/{path}")
        make_cell(tmp_path, settings, accuracy=accuracy, files=False)
    report = build_report(tmp_path)
    assert report.problems == []
    (table,) = report.tables
    for label, ours in (("checkpoint 1a2b3c4d", "50.00"), ("checkpoint 90a1b2c3", "60.00")):
        assert line_of(table, model="ConvNet", **{"from": label})["ours"] == ours
    assert all("init.from=barlow" in command for command in table.commands)


@pytest.mark.parametrize(
    ("start", "label"),
    [
        ({"data": "digits"}, "barlow data=digits"),
        ({"data": "stl10", "seed": 5}, "barlow seed=5"),
        ({"data": "stl10", "chained": True}, "barlow init.from=supervised"),
    ],
)
def test_weights_of_other_data_seeds_and_starts_are_not_the_papers_start(start, label, tmp_path):
    first = None
    if start.pop("chained", False):
        settings = make_settings("convnet", "supervised", data="stl10")
        make_cell(tmp_path, settings, files=False)
        first = cell_id(settings)
    parent = make_settings("convnet", "barlow", init_from=first, **start)
    make_cell(tmp_path, parent, files=False)
    child = make_settings("convnet", "semi", data="stl10", init_from=cell_id(parent))
    make_cell(tmp_path, child, files=False)
    groups, problems = find_groups(gather(tmp_path).cells)
    assert problems == []
    assert label in {row.init for group in groups for row in group.rows if row.method == SEMI}
    claim = claim_of(build_report(tmp_path), 7)
    assert claim.verdict == NO_DATA


def layout_cell(outputs, root, *, seed, status):
    settings = make_settings(data="digits", seed=seed)
    data = dataclasses.replace(settings.data, name="layout", fingerprint="0" * 16, root=str(root))
    settings = dataclasses.replace(settings, data=data)
    folder = make_cell(outputs, settings, status=status, files=False)
    path = folder / "record.json"
    record = json.loads(path.read_text())
    if record["data"]:
        record["data"]["name"] = root.name
        path.write_text(json.dumps(record))


def test_cells_of_a_layout_are_one_group_whatever_their_state(tmp_path, monkeypatch):
    monkeypatch.setitem(CLASSES, "layout", CLASSES["digits"])
    monkeypatch.setitem(SIZES, "layout", SIZES["digits"])
    for seed, status in enumerate((DONE, DONE, FAILED)):
        layout_cell(tmp_path / "outputs", tmp_path / "shapes", seed=seed, status=status)
    (group,), _ = find_groups(gather(tmp_path / "outputs").cells)
    row = Row("supervised", "convnet", None)
    assert group.states(row) == {DONE: 2, FAILED: 1}
    assert group.title.startswith("shapes")
    assert f"data=layout data.root={tmp_path}/shapes seed=2" in group.command(row, "outputs")


def test_starts_from_differently_trained_weights_are_told_apart(tmp_path):
    child = make_settings("convnet", "semi", "1:5", overrides=STEPS)
    for ratio, overrides in (
        ("1:5", STEPS),
        ("1:20", STEPS),
        ("1:5", ("steps=80",)),
        ("1:5", ("method.lambd=0.1",)),
    ):
        start = make_settings("convnet", "barlow", ratio, overrides=overrides)
        make_cell(tmp_path, start, files=False)
        started = dataclasses.replace(child, init={"from": cell_id(start)})
        make_cell(tmp_path, started, files=False)
    groups, problems = find_groups(gather(tmp_path).cells)
    assert problems == []
    (group,) = [group for group in groups if any(row.method == SEMI for row in group.rows)]
    rows = {row.init: row for row in group.rows if row.init}
    assert set(rows) == {
        "barlow",
        "barlow ratio=1:20",
        "barlow steps=80",
        "barlow method.lambd=0.1 steps=null",
    }
    command = group.command(rows["barlow ratio=1:20"], "outputs")
    assert "ratio=1:5 " in command
    assert "\"init.from='barlow ratio=1:20'\"" in command


def test_settings_survive_the_record(tmp_path):
    settings = make_settings("wrn45_2", "barlow", seed=4, overrides=("method.projector=[8]",))
    folder = make_cell(tmp_path, settings, files=False)
    stored = json.loads((folder / "record.json").read_text())["settings"]
    assert settings_from_dict(stored) == settings


def test_slugs_are_short_and_differ():
    long = "digits, " + ", ".join(f"key{number}=value" for number in range(20))
    assert slug(long) != slug(long + "1")
    assert slug("threshold=-1") != slug("threshold=1")
    assert len(slug(long)) <= 60


# The door


def run(*arguments):
    with pytest.raises(SystemExit) as leaving:
        main(list(arguments))
    return leaving.value.code


def test_empty_folder_says_what_to_type(tmp_path, capsys):
    assert run("--outputs", str(tmp_path)) == 0
    assert "python -m sslbench.train -m experiment=paper" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert run("--outputs", str(tmp_path), "--check", "all") == 1


def test_half_a_sweep_is_reported_and_written(tmp_path, capsys):
    for seed in range(2):
        make_cell(tmp_path, make_settings("convnet", seed=seed, overrides=STEPS))
    assert run("--outputs", str(tmp_path), "--no-figures") == 0
    out = capsys.readouterr().out
    assert "Table 1: supervised (digits, the built-in stand-in, steps=40)" in out
    assert "n<3" in out
    assert "seed=2" in out
    folder = tmp_path / "report"
    stem = "table1-digits-the-built-in-stand-in-steps-40"
    names = {path.name for path in folder.iterdir()}
    wanted = {f"{name}.{kind}" for name in (stem, "claims") for kind in ("csv", "md", "tex")}
    assert wanted | {"report.html"} <= names
    csv = pd.read_csv(folder / f"{stem}.csv").set_index(["model", "figure"])
    assert csv.loc[("convnet", "test acc"), "mean"] == pytest.approx(0.7)
    assert csv.loc[("convnet", "test acc"), "n"] == 2


def test_corrupt_records_are_named_and_skipped(tmp_path, capsys):
    make_cell(tmp_path, make_settings("convnet"), files=False)
    torn = make_cell(tmp_path, make_settings("resnet18"), files=False)
    (torn / "record.json").write_text('{"cell": "re')
    empty = make_cell(tmp_path, make_settings("wrn45_2"), files=False)
    contents = json.loads((empty / "record.json").read_text())
    (empty / "record.json").write_text(json.dumps(contents | {"results": {}}))
    assert run("--outputs", str(tmp_path), "--no-figures") == 1
    captured = capsys.readouterr()
    assert torn.name in captured.err
    assert empty.name in captured.err
    assert "70.00" in captured.out


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "finished"),
        ("status", ["done"]),
        ("error", "it broke"),
        ("settings", []),
        ("settings/model/name", ["convnet"]),
        ("results/test/accuracy", 70.0),
        ("results/test/accuracy", "0.7"),
        ("results/train/loss", float("nan")),
        ("results/train/num_images", 0),
        ("results/train/num_images", "128"),
        ("data/num_test", 0),
    ],
)
def test_records_of_wrong_types_are_named_and_skipped(path, value, tmp_path, capsys):
    make_cell(tmp_path, make_settings("resnet18"), files=False)
    wrong = make_cell(tmp_path, make_settings("convnet"), files=False)
    record = json.loads((wrong / "record.json").read_text())
    *parents, last = path.split("/")
    place = record
    for name in parents:
        place = place[name]
    place[last] = value
    (wrong / "record.json").write_text(json.dumps(record))
    assert run("--outputs", str(tmp_path), "--no-figures") == 1
    captured = capsys.readouterr()
    assert wrong.name in captured.err
    assert "ResNet18" in captured.out


@pytest.mark.parametrize("asked", ["0", "8", "1,", "one", "1;2"])
def test_wrong_claims_are_wrong_usage(asked):
    assert run("--check", asked) == 2


def test_check_asks_for_the_papers_settings_first(tmp_path):
    assert door._claim_numbers("all") == [1, 2, 3, 4, 5, 6, 7]
    accuracies = {"convnet": (0.6,), "resnet18": (0.7,), "wrn45_2": (0.8,)}
    supervised_seeds(tmp_path, accuracies, num_images=(50, 500))
    for model in paper.MODELS:
        make_cell(tmp_path, make_settings(model, overrides=STEPS), accuracy=0.5)
    report = build_report(tmp_path)
    assert claim_of(report, 1, "digits").verdict == UNDECIDED
    assert failed_claims(report, [1]) == []
    assert failed_claims(report, [1, 2])[0].startswith("claim 2")


def test_check_of_an_unfinished_paper_sweep_does_not_fall_back(tmp_path):
    for model, accuracy in zip(paper.MODELS, (0.5, 0.7, 0.9), strict=True):
        make_cell(tmp_path, make_settings(model), accuracy=accuracy)
    assert failed_claims(build_report(tmp_path), [1]) == []
    make_cell(tmp_path, make_settings("convnet", data="stl10"))
    assert failed_claims(build_report(tmp_path), [1]) == [
        "claim 1 on STL-10, the paper's settings: no data"
    ]


# Formats


def test_formats_hold_every_cell_and_escape(tmp_path):
    make_cell(tmp_path, make_settings("wrn37_2", data="stl10"), accuracy=0.8, files=False)
    table = table_of(build_report(tmp_path), "table1")
    write_table(table, tmp_path)
    text, markdown, latex = to_text(table), to_markdown(table), to_latex(table)
    for rendered in (text, markdown, latex):
        assert "59.58" in rendered
        assert "80.00" in rendered
    assert r"wrn37\_2" in latex
    assert latex.count(r"\\") == len(table.frame) + 1
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    pipes = {line.count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert pipes == {len(table.frame.columns) + 1}
    assert (tmp_path / "table1.tex").read_text() == latex


def test_latex_wraps_sentences_alone():
    frame = pd.DataFrame({"claim": ["1"], "why": ["sentence " * 20]})
    columns = to_latex(Table("claims", "Claims", "Note", frame, frame)).split("tabular}")[1]
    assert re.match(r"\{lp\{0\.\d\d\\linewidth\}\}", columns)


# Trouble in writing and printing


@pytest.mark.parametrize(
    ("in_the_way", "is_folder"),
    [
        ("report", False),
        ("report/claims.csv", True),
        ("report/report.html", True),
        ("report/figures", False),
        ("report/embeddings", False),
    ],
)
def test_what_is_in_the_reports_way_is_wrong_usage(in_the_way, is_folder, tmp_path, capsys):
    make_cell(tmp_path, make_settings("convnet", overrides=STEPS), num_images=(60, 80))
    path = tmp_path / in_the_way
    path.parent.mkdir(exist_ok=True)
    if is_folder:
        path.mkdir()
    else:
        path.write_text("mine")
    assert run("--outputs", str(tmp_path)) == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert f"--outputs {tmp_path}" in message


def run_apart(outputs, **streams):
    """The report in a process of its own, with streams as a shell gives them."""
    command = [sys.executable, "-m", "sslbench.report", "--no-figures", "--outputs", str(outputs)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **streams)


def test_a_cell_whose_name_is_not_utf_8_is_shown(tmp_path):
    folder = make_cell(tmp_path, make_settings("convnet"), status=FAILED, files=False)
    folder.rename(folder.with_name("caf\udce9"))
    torn = make_cell(tmp_path, make_settings("resnet18"), files=False)
    (torn / "record.json").write_text("{")
    torn.rename(torn.with_name("th\udce9"))
    left = run_apart(tmp_path, stdout=subprocess.PIPE)
    assert left.returncode == 1
    assert "Traceback" not in left.stderr
    text = (tmp_path / "report" / "report.html").read_text()
    assert r"caf\udce9" in text
    assert r"th\udce9" in text


@pytest.mark.parametrize("cells", [0, 1])
def test_a_reader_that_stops_early_is_no_error(cells, tmp_path):
    for _ in range(cells):
        make_cell(tmp_path, make_settings("convnet"), files=False)
    reader, writer = os.pipe()
    os.close(reader)
    left = run_apart(tmp_path, stdout=writer)
    os.close(writer)
    assert (left.returncode, left.stderr) == (0, "")


def test_a_closed_output_is_no_error(tmp_path):
    make_cell(tmp_path, make_settings("convnet", overrides=("steps=40",)), num_images=(20, 20))
    command = f"{sys.executable} -m sslbench.report --outputs '{tmp_path}' >&-"
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0
    assert (tmp_path / "report" / "report.html").exists()
