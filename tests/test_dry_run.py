"""Dry runs: what a sweep would train, and what that would take."""

import json
import shlex
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from helpers.commands import TINY, train_here
from helpers.folders import make_folders
from helpers.synthetic import edit_record, make_cell

from sslbench.cell.cell import Cell
from sslbench.cell.changes import find_changes
from sslbench.cell.record import DONE
from sslbench.cell.soundness import manifest
from sslbench.config.compose import compose_settings
from sslbench.config.parts import IMAGE_SIDE
from sslbench.sweep.measure import ANSWERS, Measurements
from sslbench.sweep.preflight import Preflight
from sslbench.tables.assemble import build_report


@cache
def measured(question, about):
    return ANSWERS[question](json.loads(about))


@pytest.fixture
def measured_here(monkeypatch):
    """Spare a dry run the process that measures, which imports torch first."""

    class Measured(nullcontext):
        def ask(self, question, about):
            return measured(question, json.dumps(about))

        def __enter__(self):
            return self

    monkeypatch.setattr("sslbench.sweep.run.Measurements", Measured)


@pytest.mark.parametrize(
    ("axes", "code", "words"),
    [
        ("model: wrn45_2, model.widths: '[8,8,8,8],[8,8,8,16]'", 0, "2 cells: 2 to do"),
        ("ratio: ['1:1', '1:7']", 2, "ratio: ['1:1', '1:7']: put the values of an axis in quotes"),
    ],
)
@pytest.mark.usefixtures("measured_here")
def test_an_axis_is_no_list_but_its_value_may_be_one(axes, code, words, tmp_path):
    command = ("data=digits", "hydra.sweeper.dry_run=true", f"+hydra.sweeper.grids.mine={{{axes}}}")
    result = train_here(tmp_path, "-m", *command)
    assert (result.returncode, words in result.stdout + result.stderr) == (code, True), result


def test_the_papers_plan_is_18_cells_a_seed_and_needs_no_data(tmp_path):
    plan = ("hydra.sweeper.dry_run=true", "data.url=http://127.0.0.1:9/")
    result = train_here(tmp_path, "-m", "experiment=paper", *plan)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0] == "18 cells: 18 to do, 4 asked for twice"
    starts = [line.partition("-")[0] for line in lines if "-stl10-s" in line]
    assert Counter(starts) == {"supervised": 3, "barlow": 3, "semi": 12}
    assert all("flops" in line for line in lines if "-stl10-s" in line)
    assert "STL-10 is not in data: the sweep would download it first" in result.stdout
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "outputs" / "cells").exists()


@pytest.mark.usefixtures("measured_here")
def test_a_dry_run_estimates_time_and_memory_by_flops_then_by_records(tmp_path):
    plan = ("-m", *TINY, "steps=7", "seed=0,1", "hydra.sweeper.dry_run=true")
    first = train_here(tmp_path, *plan, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert first.returncode == 0, first
    rows = [line for line in first.stdout.splitlines() if line.startswith("supervised-convnet")]
    assert len(rows) == 2
    assert all("GiB" in row and "flops" in row for row in rows)
    assert "one after the other" in first.stdout
    assert "with 2 workers: about" in first.stdout
    assert train_here(tmp_path, *TINY, "steps=7", "seed=0").returncode == 0
    foreign = make_cell(tmp_path / "outputs", cell_id="foreign")
    edit_record(foreign, "runtime/train_seconds", ...)
    again = train_here(tmp_path, *plan)
    assert "1 done, 1 to do" in again.stdout
    assert "records" in again.stdout
    assert "flops" not in again.stdout


ODD = """
import os
from dataclasses import dataclass
import torch
from torch import nn
from sslbench.config.parts import Model

class Pair(nn.Module):
    def forward(self, images):
        return images, None

class First(nn.Module):
    def forward(self, pair):
        return pair[0]

@dataclass
class Odd(Model):
    name: str = "odd"
    do: str = "build"

    def build(self):
        convolution = nn.Conv2d(3, 4, 1)
        print("building")
        if self.do == "look":
            convolution.weight.max().item()
        if self.do == "raise":
            raise OSError("no weights")
        if self.do == "exit":
            os._exit(3)
        return nn.Sequential(nn.utils.parametrizations.weight_norm(convolution), Pair(), First())
"""


@pytest.mark.slow
def test_a_dry_run_counts_encoders_of_any_kind_or_says_why_not(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    with Measurements() as measurements:

        def work(do):
            return measurements.ask("work", {"model": {"type": "odd.Odd", "do": do}})

        assert work("build") == work("look")
        assert work("look")["flops"] == 24 * IMAGE_SIDE**2
        with pytest.raises(ValueError, match="OSError: no weights"):
            work("raise")
        with pytest.raises(ValueError, match="has died"):
            work("exit")


@pytest.mark.usefixtures("measured_here")
@pytest.mark.usefixtures("measured_here")
def test_an_experiments_file_may_say_where_cells_start_from(tmp_path):
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.parent.mkdir()
    body = "# @package _global_\ndefaults: [{override /method: semi}]\ninit: {from: barlow}\n"
    mine.write_text(body)
    command = ["-m", "--config-dir", str(tmp_path), "experiment=mine", *TINY]
    command.append("hydra.sweeper.dry_run=true")
    planned = train_here(tmp_path, *command)
    assert planned.returncode == 0, planned
    assert "2 cells: 2 to do" in planned.stdout
    mine.write_text(body + "method: {pseudo_labels: soft}\n")
    refused = train_here(tmp_path, *command)
    assert refused.returncode == 2
    said = " ".join(refused.stderr.split())
    assert "unknown key method.pseudo_labels; it belongs to method=fixmatch and method=semi" in said
    assert "hydra.sweeper.params" in refused.stderr


@pytest.mark.usefixtures("measured_here")
def test_a_setting_of_a_swept_part_is_its_cells_and_not_the_default_parts(tmp_path):
    command = ("-m", "data=digits", "model=wrn45_2,resnet18", "model.bn_momentum=0.1")
    result = train_here(tmp_path, *command, "hydra.sweeper.dry_run=true")
    assert result.returncode == 2, result
    assert "1 of 2 cells are invalid" in result.stderr
    assert "  data=digits model=resnet18 model.bn_momentum=0.1\n" in result.stderr


def cells_of(*overrides):
    """The cells that a command with these settings would train, with three seeds."""
    choices = dict(override.split("=", 1) for override in overrides)
    settings = Preflight().make_concrete(compose_settings(list(overrides)))
    for seed in range(3):
        mine = replace(settings, seed=seed)
        yield Cell(mine, partial(find_changes, mine, choices))


def finish(cell):
    """Write a cell's record as if it had been trained."""
    cell.save_request()
    (cell.folder.path / "last.pt").touch()
    sizes = {"train": 12, "val": 4, "test": 12}
    runtime = {"train_seconds": 1.0, "total_seconds": 2.0, "peak_memory_bytes": 10**8}
    record = cell.record(DONE, runtime=runtime)
    record.results = {split: {"accuracy": 0.5} for split in sizes} | {"steps": 9}
    record.data = {"name": cell.settings.data.safe_name, "class_names": ["cat", "dog"]}
    record.data |= {"num_labeled": 12, "num_unlabeled": 24}
    record.data |= {f"num_{split}": number for split, number in sizes.items()}
    record.files = manifest(cell.folder.path)
    record.save(cell.folder.path)


@pytest.mark.usefixtures("measured_here")
def test_the_reports_command_trains_what_is_missing_and_nothing_else(tmp_path, monkeypatch):
    """Of one's own images, by an encoder of one's own, with odd names, starts and an ablation."""
    make_folders(tmp_path / "my photos, 1", train=6, unlabeled=24, test=8)
    (tmp_path / "my conf" / "model").mkdir(parents=True)
    (tmp_path / "my conf" / "model" / "small.yaml").write_text(
        "defaults: [convnet, _self_]\nname: small\nchannels: 8\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "--config-dir", "my conf"])
    mine = ("data=folder", "data.root='my photos, 1'", "data.side=64", "tracking=off")
    mine += ("outputs='out=1'", "method.epochs=3", "method.batch_size=4")
    rows = [("model=small", "method=supervised"), ("model=convnet", "method=supervised")]
    rows += [("model=small", "method=barlow", "ratio=all")]
    semi = ("model=small", "method=semi", "ratio=1:1")
    rows += [semi, (*semi, "method.threshold=0.9")]
    cells = [cell for row in rows for cell in cells_of(*row, *mine)]
    missing = {cell.id for number, cell in enumerate(cells) if number % 5 in (2, 3)}
    for cell in cells:
        if cell.id not in missing:
            finish(cell)
    words = shlex.split(build_report(Path("out=1")).fill_command)
    assert words[:3] == ["python", "-m", "sslbench.train"]
    planned = train_here(tmp_path, *words[3:], "hydra.sweeper.dry_run=true")
    assert planned.returncode == 0, planned
    rows = planned.stdout.splitlines()[2:]
    to_do = {row.split()[0] for row in rows if "  to do  " in row}
    assert to_do == missing
    assert planned.stdout.startswith(f"{len(missing)} cells: {len(missing)} to do\n")
