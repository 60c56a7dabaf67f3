"""A running sweep on one screen of text."""

import json

import pytest
from helpers.synthetic import PLANNED, edit_record, make_cell

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import FAILED
from sslbench.report import main
from sslbench.tables.assemble import build_report
from sslbench.tables.watch import Watch, place_of


@pytest.fixture
def sweep(tmp_path):
    """One cell done, one that failed, one that waits and one that runs, half of it behind it."""
    make_cell(tmp_path, "convnet", accuracy=0.6)
    failed = make_cell(tmp_path, "resnet18", status=FAILED)
    edit_record(failed, "error/message", "out of memory\x1b[2J")
    make_cell(tmp_path, "wrn45_2", status=PLANNED)
    running = make_cell(tmp_path, "wrn45_2", "semi", "1:5", status=PLANNED)
    points = [{"step": 50, "epoch": 50.0, "split": "val", "accuracy": 0.4321}]
    (running / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in points))
    with CellFolder(tmp_path, running.name).locked():
        yield tmp_path, running


def test_the_screen_says_how_far_the_sweep_is(sweep):
    outputs, running = sweep
    watch = Watch(lambda: build_report(outputs))
    first = watch.screen()
    assert "1 of 4 cells done, 1 failed, 1 planned, 1 running" in first
    assert "WRN-45-2 semi-supervised 1:5, seed 0: 50 % trained, validation 43.2 %" in first
    assert "failed: ResNet18 supervised, seed 0: out of memory\\x1b[2J" in first
    assert "60.0" in first
    assert "left" not in first
    with (running / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 75, "epoch": 75.0, "split": "train", "loss": 1.0}) + "\n")
    assert "75 % trained, validation 43.2 %, about 0 min left" in watch.screen()


def test_where_no_curve_can_be_read_nothing_is_behind(sweep):
    outputs, running = sweep
    cells = {cell.folder: cell for cell in build_report(outputs).cells}
    assert place_of(cells[running]).done == 0.5
    for text in ("", "{", '{"step": 1}\n{"split": "val"}\n'):
        (running / "metrics.jsonl").write_text(text)
        assert place_of(cells[running]).done == 0


def test_without_a_terminal_it_is_shown_once_and_nothing_is_written(sweep, capsys):
    outputs, _ = sweep
    main(["--watch", "--outputs", str(outputs)])
    assert "1 of 4 cells done" in capsys.readouterr().out
    assert not (outputs / "report").exists()
