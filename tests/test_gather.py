"""Cells of several machines' output folders in one report."""

import shutil

import pytest
from helpers.synthetic import make_cell

from sslbench.cell.record import FAILED
from sslbench.report import main
from sslbench.tables.assemble import build_report


def test_copies_count_once_and_finished_ones_first(tmp_path):
    here, there = tmp_path / "a", tmp_path / "b"
    make_cell(here, status=FAILED)
    make_cell(there)
    make_cell(here, seed=1)
    make_cell(there, seed=2)
    shutil.copytree(here / "cells", there / "cells", dirs_exist_ok=True, ignore=failed)
    report = build_report(here, there)
    assert sorted((cell.record.settings["seed"], cell.status) for cell in report.cells) == [
        (seed, "done") for seed in range(3)
    ]
    assert report.problems == []
    assert report.folder == here / "report"


def failed(folder, names):
    return [name for name in names if "-s0-" in name]


def test_one_cell_with_two_different_results_is_named(tmp_path, capsys):
    first = make_cell(tmp_path / "a", accuracy=0.7)
    second = make_cell(tmp_path / "b", accuracy=0.6)
    assert first.name == second.name
    outputs = [word for name in "ab" for word in ("--outputs", str(tmp_path / name))]
    with pytest.raises(SystemExit) as left:
        main([*outputs, "--no-figures"])
    assert left.value.code == 1
    assert f"{second}: other results than {first}" in capsys.readouterr().err
