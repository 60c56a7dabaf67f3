"""The door of the report: what it prints, writes and leaves with, whatever the cells are like."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import PLANNED, edit_record, make_cell, supervised_seeds

from sslbench import paper
from sslbench.cell.record import FAILED
from sslbench.report import main
from sslbench.tables.assemble import build_report
from sslbench.tables.claims import failed_claims

STEPS = {"steps": 40}


def run(*arguments):
    with pytest.raises(SystemExit) as leaving:
        main(list(arguments))
    return leaving.value.code


def run_apart(outputs, **streams):
    """The report in a process of its own, with streams as a shell gives them."""
    command = [sys.executable, "-m", "sslbench.report", "--no-figures", "--outputs", str(outputs)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **streams)


def test_empty_folder_says_what_to_type(tmp_path, capsys):
    assert run("--outputs", str(tmp_path)) == 0
    assert "python -m sslbench.train -m experiment=paper" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert run("--outputs", str(tmp_path), "--check", "all") == 1


def test_half_a_sweep_is_reported_and_written(tmp_path, capsys):
    for seed in range(2):
        make_cell(tmp_path, seed=seed, changes=STEPS)
    assert run("--outputs", str(tmp_path), "--no-figures") == 0
    out = capsys.readouterr().out
    for words in ("Table 1: supervised (digits, the built-in stand-in, steps=40)", "seed=2 "):
        assert words in out
    assert out.index("Table 1: supervised") < out.index("\nNO DATA")  # the answer last
    folder = tmp_path / "report"
    stem = "table1-digits-the-built-in-stand-in-steps-40"
    wanted = {f"{name}.{kind}" for name in (stem, "claims") for kind in ("csv", "md", "tex")}
    assert wanted | {"report.html", "report.json"} <= {path.name for path in folder.iterdir()}
    line = pd.read_csv(folder / f"{stem}.csv").set_index(["model", "metric"])
    assert line.loc[("convnet", "test acc"), ["mean", "n"]].to_list() == pytest.approx([0.7, 2])


WRONG = {
    "status": ("finished", ["done"]),
    "error": ("it broke",),
    "settings": ([],),
    "settings/model/name": (["convnet"],),
    "settings/init": (...,),
    "settings/optimizer": ("adam",),
    "changes": (["steps=9"],),
    "streams": ([], ...),
    "runtime/versions": ("1.0",),
    "results": ({},),
    "results/knn": ({"test": "0.7"},),
    "results/test/accuracy": (70.0, "0.7"),
    "results/train/num_images": (0, "128"),
    "data/num_test": (0,),
}
"""Values that a record must not have; `...` is none."""


def test_cells_that_are_not_as_they_should_be_are_named_and_hide_no_others(tmp_path, capsys):
    make_cell(tmp_path, "resnet18")
    wrong = []
    damages = [(path, value) for path, values in WRONG.items() for value in values]
    for number, (path, value) in enumerate(damages):
        wrong.append(make_cell(tmp_path, cell_id=f"record-{number}"))
        edit_record(wrong[-1], path, value)
    settings = json.loads((wrong[0] / "settings.json").read_text())
    for number, text in enumerate(["{", "[]", "{}", json.dumps(settings["settings"])]):
        wrong.append(make_cell(tmp_path, cell_id=f"settings-{number}", status=PLANNED))
        (wrong[-1] / "settings.json").write_text(text)
    wrong.append(make_cell(tmp_path, cell_id="torn"))
    (wrong[-1] / "record.json").write_text('{"cell": "re')
    assert run("--outputs", str(tmp_path), "--no-figures") == 1
    captured = capsys.readouterr()
    named = captured.err.splitlines()
    assert len(named) == len(wrong)
    assert all(any(folder.name in line for line in named) for folder in wrong)
    assert sum("another version" in line for line in named) >= 10
    assert "70.00 [65.5, 74.1]*" in captured.out


@pytest.mark.parametrize("asked", ["0", "8", "1,", "one", "1;2"])
def test_wrong_claims_are_wrong_usage(asked):
    assert run("--check", asked) == 2


def test_check_asks_for_the_papers_settings_first(tmp_path):
    many = {"num_images": (20, 500), "files": True}
    waver = (0.0, 0.01, -0.01)
    for model, accuracy in zip(paper.MODELS, (0.5, 0.65, 0.8), strict=True):
        for seed in range(3):
            make_cell(tmp_path, model, seed=seed, accuracy=accuracy + waver[seed], **many)
    # An unfinished sweep of the paper's settings is not replaced by cells in others.
    assert failed_claims(build_report(tmp_path).claims, [1]) == []
    make_cell(tmp_path, "convnet", data="stl10")
    left = build_report(tmp_path)
    assert failed_claims(left.claims, [1]) == ["claim 1 on STL-10, the paper's settings: no data"]
    accuracies = {"convnet": (0.5,), "resnet18": (0.65,), "wrn45_2": (0.8,)}
    supervised_seeds(tmp_path, accuracies, **many)
    one_seed = failed_claims(build_report(tmp_path).claims, [1])
    assert one_seed == ["claim 1 on STL-10, the paper's settings: leans for"]
    accuracies = {model: tuple(value + np.array(waver)) for model, (value,) in accuracies.items()}
    supervised_seeds(tmp_path, accuracies, **many)
    for model in paper.MODELS:
        make_cell(tmp_path, model, changes=STEPS, accuracy=0.5)
    report = build_report(tmp_path)
    assert failed_claims(report.claims, [1]) == []
    assert failed_claims(report.claims, [1, 2])[0].startswith("claim 2")
    assert report.verdict == "HOLDS IN PART on 3 seeds: holds for 1, open 6 of 7"


def test_all_that_is_said_is_there_for_machines(tmp_path, capsys):
    for model in ("convnet", "resnet18"):
        make_cell(tmp_path, model, accuracy=0.1 if model == "convnet" else 0.7)
    make_cell(tmp_path, "wrn45_2", status=FAILED)
    assert run("--outputs", str(tmp_path), "--no-figures", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {key for key in printed if printed[key] != written[key]} <= {"generated"}
    report = build_report(tmp_path)
    assert (printed["verdict"], printed["fill_command"]) == (report.verdict, report.fill_command)
    assert [each["sentence"] for each in printed["claims"]] == [c.sentence for c in report.claims]
    assert printed["collapsed"] == {"ConvNet supervised, seed 0": "10.0 %, chance"}
    assert "hold?" in printed["question"]
    collapsed, failed, *_ = printed["alerts"]
    assert "bears on claim" in collapsed
    assert failed == "failed: WRN-45-2 supervised, seed 0 (it failed)"
    assert [each["status"] for each in printed["cells"]].count(FAILED) == 1
    claim = printed["claims"][7]
    assert claim["effect"]["name"] == "ResNet18 minus ConvNet"
    assert claim["tests"][0]["difference"] == pytest.approx(0.6, abs=0.01)
    assert claim["without_collapsed"]["verdict"] == "no data"
    assert printed["first_table"]["lines"][0]["places"][0]["collapsed"] == [
        "seed 0: 10.0 %, chance"
    ]
    assert [table["name"] for table in printed["tables"]] == [t.name for t in report.tables]


@pytest.mark.parametrize("name", ["embeddings", ""])
def test_what_is_in_the_reports_way_is_wrong_usage(name, tmp_path, capsys):
    make_cell(tmp_path, changes=STEPS, num_images=(60, 80), files=True)
    path = tmp_path / "report" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    assert run("--outputs", str(tmp_path)) == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert f"--outputs {tmp_path}" in message


def test_names_that_are_not_utf_8_are_shown(tmp_path):
    outputs = tmp_path / "out\udce9"
    folder = make_cell(outputs, status=FAILED)
    folder.rename(folder.with_name("caf\udce9"))
    torn = make_cell(outputs, "resnet18")
    (torn / "record.json").write_text("{")
    torn.rename(torn.with_name("th\udce9"))
    left = run_apart(outputs, stdout=subprocess.PIPE)
    assert left.returncode == 1
    assert "Traceback" not in left.stderr
    assert r"out\udce9" in left.stdout
    text = (outputs / "report" / "report.html").read_text()
    assert all(name in text for name in (r"caf\udce9", r"th\udce9", r"out\udce9"))


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    make_cell(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    left = run_apart(tmp_path, stdout=writer)
    os.close(writer)
    assert (left.returncode, left.stderr) == (0, "")


def test_many_problems_leave_the_answer_in_sight(tmp_path, capsys):
    for number in range(33):
        torn = tmp_path / "cells" / f"torn{number}" / "record.json"
        torn.parent.mkdir(parents=True)
        torn.write_text("{")
    assert run("--outputs", str(tmp_path)) == 1
    *_, last = lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 31
    assert "3 more problems" in last
