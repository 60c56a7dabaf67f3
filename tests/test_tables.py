"""Tables of the report over made-up cells: what is beside what, what is missing, what fills it."""

import pandas as pd
import pytest
from filelock import FileLock
from helpers.synthetic import PLANNED, edit_record, make_cell, supervised_seeds

from sslbench.cell.record import BLOCKED, DONE, FAILED, INTERRUPTED
from sslbench.report import build_report
from sslbench.tables.render import to_latex, to_markdown, to_text, write_table

STEPS = {"steps": 40}
TRAIN_COMMAND = "python -m sslbench.train"


def table_of(report, name):
    return next(table for table in report.tables if table.name == name)


def line_of(table, metric="test acc", **where):
    where = pd.Series(where | {"metric": metric})
    (line,) = table.frame[(table.frame[where.index] == where).all(axis=1)].iloc
    return line


def commands_of(report):
    return [command for table in report.tables for command in table.commands]


def test_ours_stands_beside_the_papers(tmp_path):
    supervised_seeds(tmp_path, {"wrn45_2": (0.74, 0.75, 0.76)})
    table = table_of(build_report(tmp_path), "table1")
    lines = table.frame.set_index(["metric", "model"]).loc["test acc"].T
    names = ["paper", "ours", "95 % interval", "difference", "n", "state"]
    assert list(lines.index) == names
    # 4.303 * 1 / sqrt(3)
    ours = ["73.18", "75.00 ± 1.00", "[72.52, 77.48]", "+1.82", 3, "done"]
    assert list(lines["WRN-45-2"]) == ours
    assert list(lines["ConvNet"]) == ["59.58", "-", "", "", 0, "missing"]
    rest = f"method=supervised data=stl10 seed=0,1,2 outputs={tmp_path}"
    models = ("convnet", "resnet18")
    assert table.commands == [f"{TRAIN_COMMAND} -m model={model} {rest}" for model in models]


@pytest.mark.parametrize(
    ("accuracies", "ours", "interval", "state"),
    [
        ((0.6,), "60.00", "[58.79, 61.19]*", "n<3"),  # Wilson's, over 6,400 images
        ((0.6, 0.6, 0.6), "60.00 ± 0.00", "[58.79, 61.19]*", "done"),
        ((0.07, 0.12, 0.32), "17.00 ± 13.23", "[0.00, 49.86]", "done"),  # cut at zero
    ],
)
def test_intervals_are_over_seeds_that_differ_else_over_images(
    accuracies, ours, interval, state, tmp_path
):
    supervised_seeds(tmp_path, {"convnet": accuracies})
    line = line_of(table_of(build_report(tmp_path), "table1"), model="ConvNet")
    assert (line["ours"], line["95 % interval"]) == (ours, interval)
    assert (line["state"], line["n"]) == (state, len(accuracies))


def test_states_other_than_done_are_shown_and_asked_for_again(tmp_path):
    for seed, status in enumerate((FAILED, INTERRUPTED, BLOCKED, PLANNED)):
        make_cell(tmp_path, "convnet", data="stl10", seed=seed, status=status)
    for seed in (2, 1):
        more = {"data": "stl10", "seed": seed, "status": INTERRUPTED, "files": True}
        folder = make_cell(tmp_path, "resnet18", **more)
        (folder / "record.json").unlink()
    with FileLock(folder / ".lock"):
        table = table_of(build_report(tmp_path), "table1")
    states = "1 blocked, 1 failed, 1 interrupted, 1 planned"
    assert line_of(table, model="ConvNet")["state"] == states
    assert line_of(table, model="ResNet18")["state"] == "1 interrupted, 1 running"
    assert "model=convnet method=supervised data=stl10 seed=0,1,2,3" in table.commands[0]
    assert "model=resnet18 method=supervised data=stl10 seed=0,2,3" in table.commands[1]


@pytest.mark.parametrize(
    ("data", "changes"),
    [("digits", {}), ("stl10", {"method.epochs": 5.0}), ("stl10", {"data.fold": 1})],
)
def test_other_data_and_changes_are_never_set_against_the_paper(tmp_path, data, changes):
    make_cell(tmp_path, "convnet", data=data, changes=changes)
    report = build_report(tmp_path)
    (table,) = report.tables
    assert table.name.startswith("table1-")
    assert not {"paper", "difference"} & set(table.frame.columns)
    assert table.values["paper"].isna().all()
    assert all(f"{key}={value}" in table.title for key, value in changes.items())
    assert not any(claim.on_paper_settings for claim in report.claims)


def test_ratio_matters_only_to_methods_that_use_unlabelled_images(tmp_path):
    for method in ("supervised", "barlow"):
        for seed, ratio in enumerate(("1:1", "1:5")):
            make_cell(tmp_path, "convnet", method, ratio, seed=seed)
    supervised, barlow = build_report(tmp_path).tables
    assert line_of(supervised, model="ConvNet")["n"] == 2
    assert line_of(barlow, model="ConvNet", ratio="1:5")["n"] == 1


def test_ablation_has_a_table_of_its_own(tmp_path):
    for seed in range(2):
        for threshold, accuracy in ((0.0, 0.7), (0.95, 0.8)):
            changes = STEPS | ({"method.threshold": threshold} if threshold else {})
            make_cell(tmp_path, "convnet", "semi", seed=seed, accuracy=accuracy, changes=changes)
    make_cell(tmp_path, "resnet18", "semi", changes=STEPS)
    table, ablation, _ = build_report(tmp_path).tables
    assert table.name == "table3-digits-the-built-in-stand-in-steps-40"
    assert line_of(table, model="ConvNet")["ours"] == "70.00 ± 0.00"
    assert ablation.name == "ablation-digits-semi"
    found = ablation.frame.pivot(index="method.threshold", columns="metric", values="ours")
    for threshold, accuracies in {"0.0": (71, 70.09, 70), "0.95": (81, 80.37, 80)}.items():
        ours = found.loc[threshold, ["train acc", "val acc", "test acc"]]
        assert list(ours) == [f"{accuracy:.2f} ± 0.00" for accuracy in accuracies]
    assert set(ablation.frame["n"]) == {2}
    assert "steps" not in ablation.frame


def test_a_method_that_the_paper_does_not_have_gets_a_table_and_commands(tmp_path):
    for model in ("convnet", "vit"):
        make_cell(tmp_path, model, "simclr", streams=["unlabeled"], changes={"method.epochs": 2.0})
    (table,) = build_report(tmp_path).tables
    assert table.title.startswith("By simclr")
    assert line_of(table, model="ConvNet")["ours"] == "70.00"
    assert line_of(table, "k-NN test acc", model="vit")["ours"] == "68.00"
    command = "-m model=vit method=simclr ratio=1:20 data=digits method.epochs=2.0 "
    assert command in table.commands[1]


def test_a_table_of_cells_by_different_code_says_so(tmp_path):
    for seed, code in enumerate(("a", "a", "b")):
        folder = make_cell(tmp_path, seed=seed)
        edit_record(folder, "runtime/versions", {"code": code})
        [table] = build_report(tmp_path).tables
        assert ("trained by 2 versions of the code" in table.note) == (code == "b")


@pytest.mark.parametrize(
    ("choice", "changes", "words"),
    [
        ({}, {"model.widths": [8, 16]}, "data=digits 'model.widths=[8,16]'"),
        ({"root": "/my data"}, {}, "data=digits 'data.root=/my data'"),
        ({}, {"augmentation.view_b.blur.p": 0.9}, "data=digits augmentation.view_b.blur.p=0.9"),
        ({"data": "layout"}, {"data.fingerprint": "0123"}, "data=layout data.root=data"),
    ],
)
def test_commands_write_what_cells_changed(choice, changes, words, tmp_path):
    make_cell(tmp_path, "wrn45_2", "semi", "1:5", seed=3, status=FAILED, changes=changes, **choice)
    command = f"{TRAIN_COMMAND} -m model=wrn45_2 method=semi ratio=1:5 {words} seed=0,1,3 outputs="
    commands = commands_of(build_report(tmp_path))
    assert sum(each.startswith(command) for each in commands) == 1


def test_no_command_changes_settings_of_a_model_for_another(tmp_path):
    make_cell(tmp_path, "resnet18", "semi", changes={"model.stem": "cifar"})
    (command,) = commands_of(build_report(tmp_path))
    assert "model=resnet18 " in command


@pytest.mark.parametrize(
    ("start", "label"),
    [
        ({"data": "digits"}, "barlow data=digits"),
        ({"data": "stl10", "start": "mine-convnet-s0-01"}, "barlow init.from=mine"),
        ({"data": "stl10", "changes": {"method.lambd": 0.1}}, "barlow method.lambd=0.1"),
        ("barlow-convnet-1to20-stl10-s0-0123abcd", "unknown weights"),
        ("/weights/a#.pt#90a1b2c3d4e5f607", "checkpoint 90a1b2c3"),
    ],
)
def test_other_weights_are_not_the_papers_start(start, label, tmp_path):
    if isinstance(start, dict):
        start = make_cell(tmp_path, "convnet", "barlow", **start).name
    make_cell(tmp_path, "convnet", "semi", data="stl10", start=start, accuracy=0.6)
    report = build_report(tmp_path)
    assert report.problems == []
    table = table_of(report, "ssl_init")
    assert line_of(table, model="ConvNet", **{"from": label})["ours"] == "60.00"
    assert not any(len(claim.tests) for claim in report.claims if claim.number == 7)
    commands = [command for command in table.commands if f"'{label}'" in command]
    assert bool(commands) == label.startswith(("barlow data", "barlow seed", "barlow method"))


def test_a_command_describes_the_weights_to_start_from(tmp_path):
    start = make_cell(tmp_path, "convnet", "barlow", "1:20", changes={"method.epochs": 9.0}).name
    make_cell(tmp_path, "convnet", "semi", "1:5", changes={"method.epochs": 9.0}, start=start)
    described = "\"init.from='barlow ratio=1:20 method.epochs=9.0'\" seed=1,2"
    assert sum(described in command for command in commands_of(build_report(tmp_path))) == 1


def test_what_the_start_has_of_its_own_is_not_set_twice(tmp_path):
    start = make_cell(tmp_path, "convnet", "barlow", changes={"method.epochs": 90.0}).name
    make_cell(tmp_path, "convnet", "semi", changes={"method.epochs": 9.0}, start=start)
    commands = [each for each in commands_of(build_report(tmp_path)) if "init.from" in each]
    assert any("method.epochs=90.0" in each for each in commands)
    assert all(each.partition("init.from")[2].count("method.epochs") <= 1 for each in commands)


def test_an_ablations_numbers_stand_in_their_order(tmp_path):
    for size in (200, 16, 8, 32):
        make_cell(tmp_path, "convnet", "semi", changes={"method.batch_size": size})
    make_cell(tmp_path, "convnet", "semi")
    ablation = table_of(build_report(tmp_path), "ablation-digits-semi").frame
    assert list(ablation["method.batch_size"].unique()) == ["100", "8", "16", "32", "200"]


def test_cells_of_a_layout_are_one_group_whatever_their_state(tmp_path):
    for seed, status in enumerate((DONE, FAILED, PLANNED)):
        make_cell(tmp_path, data="layout", root="/data/shapes", seed=seed, status=status)
    report = build_report(tmp_path)
    (table,) = report.tables
    assert "(shapes, the paper's settings)" in table.title
    assert line_of(table, model="ConvNet")["state"] == "n<3, 1 failed, 1 planned"
    assert "data=layout data.root=/data/shapes seed=1,2" in table.commands[0]


def test_formats_hold_every_number_and_escape(tmp_path):
    supervised_seeds(tmp_path, {"wrn37_2": (0.8, 0.8)})
    make_cell(tmp_path, "a|b", data="stl10", accuracy=0.7)
    table = table_of(build_report(tmp_path), "table1")
    write_table(table, tmp_path)
    text, markdown, latex = to_text(table), to_markdown(table), to_latex(table)
    assert all(n in rendered for n in ("59.58", "80.00") for rendered in (text, markdown, latex))
    words = (r"wrn37\_2", "n$<$3", r"95 \% interval", r"$\pm$", r"\toprule", r"\bottomrule")
    assert all(word in latex for word in words)
    assert latex.count(r"\\") == len(table.frame) + 1
    lines = [line.replace(r"\|", "") for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(table.frame.columns) + 1}
    assert (tmp_path / "table1.tex").read_text() == latex
