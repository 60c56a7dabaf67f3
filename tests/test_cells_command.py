"""`python -m sslbench.cells`: what it lists, and what it removes and leaves."""

import csv
import io
import json
import os
import subprocess
import sys
import time

import pytest
from helpers.synthetic import make_cell

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import load_record
from sslbench.cell.soundness import flaws_of
from sslbench.cells import main
from sslbench.exit_codes import exit_at_ctrl_c

DAY = 86400


@pytest.fixture
def outputs(tmp_path):
    make_cell(tmp_path, "resnet18", "semi", "1:5", accuracy=0.8, files=True)
    make_cell(tmp_path, "resnet18", "semi", "1:20", seed=1)
    make_cell(tmp_path, "convnet", changes={"optimizer.lr": 0.01})
    make_cell(tmp_path, "wrn45_2", status="failed")
    return tmp_path


def cells_of(outputs):
    return sorted(path.name for path in (outputs / "cells").iterdir())


@pytest.fixture
def run(outputs, capsys):
    def run(*words):
        try:
            code = main([*words, "--outputs", str(outputs)]) or 0
        except SystemExit as left:
            code = left.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(
    ("words", "models"),
    [
        ("", ["convnet", "resnet18", "resnet18", "wrn45_2"]),
        ("method=semi model=resnet18", ["resnet18", "resnet18"]),
        ("method=semi seed=1", ["resnet18"]),
        ("ratio=1:5", ["resnet18"]),
        ("optimizer.lr=0.01", ["convnet"]),
        ("--state failed", ["wrn45_2"]),
        ("--older-than 30d", []),
        ("--other-code", []),
    ],
)
def test_cells_are_chosen_by_settings_state_age_and_code(words, models, run):
    code, listed, _ = run("ls", *words.split(), "--format", "json")
    assert code == 0
    assert sorted(cell["cell"].split("-")[1] for cell in json.loads(listed)) == models


def test_old_cells_and_those_of_other_code_are_found(outputs, run):
    folder = next((outputs / "cells").glob("supervised-convnet*"))
    record = load_record(folder)
    record.runtime["versions"] = {"code": "0123456789ab"}
    record.save(folder)
    os.utime(folder / "record.json", (time.time() - 40 * DAY,) * 2)
    for words in (["--other-code"], ["--older-than", "5w"]):
        assert [it["cell"] for it in json.loads(run("ls", *words, "--format", "json")[1])] == [
            folder.name
        ]


def test_the_list_is_text_and_csv_too(run):
    _, text, _ = run("ls", "method=semi")
    assert text.splitlines()[-1].startswith("2 cells, ")
    assert "80.37%" in text  # of 107 validation images
    _, table, _ = run("ls", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["state"] for row in rows] == ["done", "done", "done", "failed"]
    assert rows[-1]["val"] == ""


def test_one_cell_is_shown_with_all_that_is_known_of_it(outputs, run):
    name = cells_of(outputs)[0]
    code, shown, _ = run("show", name, "--format", "json")
    assert code == 0
    found = json.loads(shown)
    assert (found["cell"], found["settings"]["method"]) == (name, name.partition("-")[0])
    assert run("show", "nonsense")[0] == 2


def test_a_reader_that_stops_early_is_no_error(outputs):
    """As `cells show X | head` has it."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "sslbench.cells", "show", cells_of(outputs)[0]]
    shown = subprocess.run(
        [*command, "--outputs", str(outputs)], stdout=writes, stderr=subprocess.PIPE, text=True
    )
    os.close(writes)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_du_adds_up_what_lies_in_the_folder(outputs, run):
    (outputs / "cache").mkdir()
    (outputs / "cache" / "images.bin").write_bytes(bytes(1_000_000))
    rows = {it["what"]: it["bytes"] for it in json.loads(run("du", "--format", "json")[1])}
    assert rows["embeddings"] > 0 == rows["weights"]
    assert rows["cache/"] >= 1_000_000
    assert run("du")[1].splitlines()[-1].startswith("total")


def test_rm_asks_and_without_anybody_to_answer_removes_nothing(outputs, run, monkeypatch):
    before = cells_of(outputs)
    code, _, said = run("rm", "--state", "failed")
    assert code == 2
    assert "add --yes" in said
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert run("rm", "--state", "failed")[0] == 1
    assert cells_of(outputs) == before
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert run("rm", "--state", "failed")[0] == 0
    assert [name for name in before if name not in cells_of(outputs)] == [before[-1]]


def test_a_cell_that_is_trained_stays_and_says_so(outputs, run):
    held, *others = cells_of(outputs)
    with CellFolder(outputs, held).locked():
        code, _, said = run("rm", "--yes", "--cell", held, "--cell", others[0])
    assert code == 1
    assert f"{held}: a process trains it" in said
    assert cells_of(outputs) == [held, *others[1:]]


def test_weights_alone_are_freed_and_the_cell_stays_sound(outputs, run):
    name = next(it for it in cells_of(outputs) if it.endswith("s0") or "-s0-" in it)
    folder = outputs / "cells" / name
    os.utime(folder / "record.json", (time.time() - 40 * DAY,) * 2)
    code, _, _ = run("rm", "--weights", "--yes", "--cell", name)
    assert name in run("ls", "--older-than", "39d")[1]
    assert code == 0
    record = load_record(folder)
    assert not list(folder.glob("*.pt"))
    assert flaws_of(folder, record)[1:] == []
    assert "its weights were removed" in record.notes[-1]
    code, _, said = run("rm", "--weights", "--yes", "--state", "failed")
    assert code == 1
    assert "without its checkpoint it would begin anew" in said


def test_cells_that_start_from_a_removed_one_are_named(outputs, run):
    parent = next(it for it in cells_of(outputs) if it.startswith("supervised-convnet"))
    make_cell(outputs, "convnet", "semi", "1:5", changes={"init.from": parent}, cell_id="child")
    _, said, _ = run("rm", "--yes", "--cell", parent)
    assert f"{parent}: without it these cannot be trained again: child" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("ls metod=semi", "metod=semi: no cell below"),
        ("ls --older-than 3", "3: give hours, days or weeks"),
        ("ls semi", "semi: give setting=value"),
        ("rm --yes --state finished", "finished: must be one of done, "),
        ("rm --yes --cell nonsense", "nonsense: there is no such cell"),
    ],
)
def test_wrong_usage_is_refused(words, message, run):
    code, _, said = run(*words.split())
    assert code == 2
    assert message in said


def test_ctrl_c_is_no_error_even_if_it_leads_to_one():
    """As in OmegaConf, which sets a flag back on the way out and fails."""

    @exit_at_ctrl_c()
    def interrupted():
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError

    with pytest.raises(SystemExit) as leaving:
        interrupted()
    assert leaving.value.code == 130
