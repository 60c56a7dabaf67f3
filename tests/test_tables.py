"""Tables of the report over made-up cells: what is beside what, and what is missing."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from helpers.synthetic import PLANNED, edit_record, make_cell, supervised_seeds

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import BLOCKED, DONE, FAILED, INTERRUPTED
from sslbench.tables.assemble import build_report
from sslbench.tables.render import to_latex, to_markdown, write_table
from sslbench.tables.tables import claim_tables
from sslbench.tables.text import to_text

STEPS = {"steps": 40}


def table_of(report, name):
    return next(table for table in report.tables if table.name == name)


def line_of(table, **where):
    where = pd.Series(where)
    (line,) = table.frame[(table.frame[where.index] == where).all(axis=1)].iloc
    return line


def test_ours_stands_beside_the_papers_in_its_shape(tmp_path):
    supervised_seeds(tmp_path, {"wrn45_2": (0.74, 0.75, 0.76)})
    report = build_report(tmp_path)
    lines = table_of(report, "table1").frame.set_index("model").T
    metrics = [f"{split} acc: {whose}" for split in ("train", "val", "test") for whose in WHOSE]
    assert list(lines.index) == [*metrics, "seeds", "state"]
    # The root of .01^2 / 3 over seeds and .75 * .25 / 6400 over images, times 2.36: t of df 7.
    ours = ["73.18", "75.00 [73.1, 76.9]", "3", "done"]
    assert list(lines["WRN-45-2"].iloc[-4:]) == ours
    assert list(lines["ConvNet"].iloc[-4:]) == ["59.58", "missing", "0", "missing"]
    losses = table_of(report, "table1-loss").frame.set_index("model").T["WRN-45-2"]
    assert list(losses)[:2] == ["0.73", "0.50 [0.45, 0.55]"]
    long = table_of(report, "table1").values.set_index(["model", "metric"])
    assert long.loc[("wrn45_2", "test acc"), "difference"] == pytest.approx(0.0182)
    assert long.loc[("wrn45_2", "test acc"), "deviation"] == pytest.approx(0.01)


WHOSE = ("paper", "ours")


def test_table_4_has_models_as_columns_and_test_accuracy_too(tmp_path):
    for ratio, accuracy in (("1:1", 0.5), ("1:20", 0.6)):
        make_cell(tmp_path, "convnet", "semi", ratio, data="stl10", accuracy=accuracy)
    report = build_report(tmp_path)
    table = table_of(report, "table4").frame
    models = [f"{m}: {whose}" for m in ("ConvNet", "ResNet18", "WRN-45-2") for whose in WHOSE]
    assert list(table) == ["metric", "ratio", *models, "seeds"]
    at = table.set_index(["metric", "ratio"])
    assert list(at.loc[("val acc", "1:1")]) == [
        *("55.61", "50.00 [47.6, 52.4]*", "72.10", "missing", "74.05", "missing", "0-1")
    ]
    assert at.loc[("test acc", "1:20"), "ConvNet: ours"] == "60.00 [58.8, 61.2]*"
    assert at.loc[("test acc", "1:20"), "ConvNet: paper"] == "-"
    assert list(report.first_table.models) == ["ConvNet", "ResNet18", "WRN-45-2"]


def test_what_the_paper_reports_has_a_line_before_we_have_cells(tmp_path):
    make_cell(tmp_path, "convnet", data="stl10")
    make_cell(tmp_path, "convnet", "semi", "1:5", data="stl10")
    make_cell(tmp_path, "convnet", "semi", "1:20", data="stl10", status=FAILED)
    lines = build_report(tmp_path).first_table.lines
    assert [line.kind for line in lines] == ["supervised", "self-supervised", "semi-supervised 1:5"]
    assert [place.paper is not None for place in lines[1].places] == [True, True, True]


def test_the_first_table_has_the_orders_of_both(tmp_path):
    values = {"convnet": 0.5, "resnet18": 0.7, "wrn45_2": 0.6}
    for method in ("supervised", "barlow", "semi"):
        for model, accuracy in values.items():
            make_cell(tmp_path, model, method, data="layout", root="mine", accuracy=accuracy)
    table = build_report(tmp_path).first_table
    assert table.paper_heading == "paper (STL-10)"
    assert [line.kind for line in table.lines] == [
        *("supervised", "self-supervised", "semi-supervised 1:20")
    ]
    assert [(line.paper_order, line.order) for line in table.lines] == [
        *(("W>R>C", "R>W>C"), ("W>C>R", "R>W>C"), ("W>R>C", "R>W>C"))
    ]
    assert table.lines[1].paper_metric == "val acc"
    place = table.lines[0].places[1]
    assert (place.model, place.is_best, place.num_seeds) == ("ResNet18", True, 1)
    assert place.paper == pytest.approx(0.7168)
    assert place.ours == pytest.approx(0.7, abs=1e-3)
    assert place.low < place.ours < place.high


@pytest.mark.parametrize(
    ("accuracies", "ours", "seeds"),
    [
        ((0.6,), "60.00 [58.8, 61.2]*", "1"),  # Wilson's, over 6,400 images
        ((0.6, 0.6, 0.6), "60.00 [58.8, 61.2]", "3"),  # seeds alike: of images alone, too
        ((0.27, 0.12, 0.32), "23.67 [0.0, 49.2]", "3"),  # cut at zero
    ],
)
def test_intervals_say_what_they_are_of(accuracies, ours, seeds, tmp_path):
    supervised_seeds(tmp_path, {"convnet": accuracies})
    table = table_of(build_report(tmp_path), "table1")
    line = line_of(table, model="ConvNet")
    assert (line["test acc: ours"], line["seeds"]) == (ours, seeds)
    of = table.values.set_index(["model", "metric"])["interval_of"]
    assert of["convnet", "test acc"] == ("images" if seeds == "1" else "seeds and images")


def test_states_other_than_done_are_shown(tmp_path):
    for seed, status in enumerate((FAILED, INTERRUPTED, BLOCKED, PLANNED)):
        make_cell(tmp_path, "convnet", data="stl10", seed=seed, status=status)
    for seed in (2, 1):
        more = {"data": "stl10", "seed": seed, "status": INTERRUPTED, "files": True}
        folder = make_cell(tmp_path, "resnet18", **more)
        (folder / "record.json").unlink()
    with CellFolder(tmp_path, folder.name).locked():
        table = table_of(build_report(tmp_path), "table1")
    states = "1 blocked, 1 failed, 1 interrupted, 1 planned"
    assert line_of(table, model="ConvNet")["state"] == states
    assert line_of(table, model="ResNet18")["state"] == "1 interrupted, 1 running"


@pytest.mark.parametrize(
    ("data", "changes", "heading"),
    [
        ("digits", {}, None),
        ("stl10", {"method.epochs": 5.0}, "paper (STL-10)"),
        ("layout", {}, "paper (STL-10)"),
    ],
)
def test_the_papers_figures_beside_other_cells_say_that_they_are_no_measure(
    data, changes, heading, tmp_path
):
    make_cell(tmp_path, "convnet", data=data, changes=changes)
    report = build_report(tmp_path)
    table = report.tables[0]
    assert table.name.startswith("table1-")
    assert (f"test acc: {heading}" in table.frame.columns) == (heading is not None)
    assert ("not comparable with ours" in table.note) == (heading is not None)
    assert table.values["difference"].isna().all()
    assert all(f"{key}={value}" in table.title for key, value in changes.items())
    assert not any(claim.on_paper_settings for claim in report.claims)


def test_notes_say_what_accuracies_and_weights_are(tmp_path):
    for method, select in (("supervised", "best"), ("barlow", "last")):
        folder = make_cell(tmp_path, "convnet", method)
        edit_record(folder, "settings/method/select", select)
    supervised, _, barlow, *_ = build_report(tmp_path, with_paper=True).tables
    assert "best validation accuracy" in supervised.note
    assert "on augmented images" in supervised.note
    assert "linear classifier on the frozen encoder, on images as they are" in barlow.note
    assert "Weights: of the last step" in barlow.note


def test_ratio_matters_only_to_methods_that_use_unlabelled_images(tmp_path):
    for method in ("supervised", "barlow"):
        for seed, ratio in enumerate(("1:1", "1:5")):
            make_cell(tmp_path, "convnet", method, ratio, seed=seed)
    supervised, _, barlow, *_ = build_report(tmp_path, with_paper=True).tables
    assert line_of(supervised, model="ConvNet")["seeds"] == "2"
    assert line_of(barlow, model="ConvNet", ratio="1:5")["seeds"] == "1"


def test_a_method_that_the_paper_does_not_have_gets_a_table(tmp_path):
    for model in ("convnet", "vit"):
        make_cell(tmp_path, model, "simclr", streams=["unlabeled"], changes={"method.epochs": 2.0})
    report = build_report(tmp_path)
    table = report.tables[0]
    assert not report.has_paper_cells
    assert line_of(table, model="ConvNet")["test acc: ours"].startswith("70.00 ")
    assert line_of(table, model="vit")["k-NN test acc: ours"].startswith("68.00 ")
    beside = build_report(tmp_path, with_paper=True)
    assert beside.tables[0].title.startswith("By simclr")
    assert beside.verdict.startswith("NO DATA")


def test_a_table_of_cells_by_different_code_says_so(tmp_path):
    for seed, code in enumerate(("a", "a", "b")):
        folder = make_cell(tmp_path, seed=seed)
        edit_record(folder, "runtime/versions", {"code": code})
        table = build_report(tmp_path).tables[0]
        assert ("trained by 2 versions of the code" in table.note) == (code == "b")


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
    report = build_report(tmp_path, with_paper=True)
    assert report.problems == []
    line = line_of(table_of(report, "ssl_init"), model="ConvNet", **{"from": label})
    assert line["test acc: ours"].startswith("60.00")
    assert not any(len(claim.tests) for claim in report.claims if claim.number == 7)


def test_cells_of_a_layout_are_one_group_whatever_their_state(tmp_path):
    for seed, status in enumerate((DONE, FAILED, PLANNED)):
        make_cell(tmp_path, data="layout", root="/data/shapes", seed=seed, status=status)
    report = build_report(tmp_path)
    table = report.tables[0]
    assert "(shapes, the paper's settings)" in table.title
    assert line_of(table, model="ConvNet")["state"] == "n<3, 1 failed, 1 planned"
    assert "data=layout data.root=/data/shapes seed=1,2" in report.fill_command


def test_formats_hold_every_number_and_escape(tmp_path):
    supervised_seeds(tmp_path, {"wrn37_2": (0.8, 0.8)})
    make_cell(tmp_path, "a|b", data="stl10", accuracy=0.7)
    table = table_of(build_report(tmp_path), "table1")
    write_table(table, tmp_path)
    text, markdown, latex = to_text(table), to_markdown(table), to_latex(table)
    assert all(n in rendered for n in ("59.58", "80.00") for rendered in (text, markdown, latex))
    assert all(word in latex for word in (r"wrn37\_", "n$<$3", r"95 \%", r"\begin{longtable}"))
    lines = [line.replace(r"\|", "") for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(table.frame.columns) + 1}
    assert (tmp_path / "table1.tex").read_text() == latex
    assert len(pd.read_csv(tmp_path / "table1.csv")) == 3 * len(table.frame)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles_and_fits_the_page(tmp_path):
    """With long and strange names, and a line for each claim, within an article's page."""
    names = ("convnet", "résumé_#%&~^\\{}$", "A" * 70, "a|b [c] *d")
    for seed, model in enumerate(names):
        make_cell(tmp_path, model, "semi", "1:5", data="stl10", accuracy=0.1)
        make_cell(tmp_path, "wrn45_2", "semi", f"1:{seed + 1}", data="digits")
        make_cell(tmp_path, model, data="layout", root="my_own/data", seed=seed)
    report = build_report(tmp_path, with_paper=True)
    tables = [*report.tables, *claim_tables(report.claims)]
    begin = "\\documentclass{article}\\usepackage{array,booktabs,longtable}\\begin{document}\n"
    body = "\n".join(map(to_latex, tables))
    (tmp_path / "all.tex").write_text(f"{begin}{body}\\end{{document}}")
    assert body.count(r"\caption{") == len(tables)
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "all.tex"]
        left = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert left.returncode == 0
    wide = re.findall(r"Overfull \\hbox \((\d+)\.", left.stdout)
    assert [points for points in wide if int(points) > 0] == []
