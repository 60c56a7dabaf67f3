"""Packs of done cells, from which another machine goes on: small files, and records that hold."""

import tarfile

import pytest
from helpers.synthetic import make_cell

from benchmarks.pack import pack, unpack
from sslbench.cell.record import DONE, load_record
from sslbench.cell.soundness import flaws_of
from sslbench.tables.assemble import build_report

LIMITS = {"num_parts": 4, "part_bytes": 20_000, "all_bytes": 60_000}


@pytest.fixture
def outputs(tmp_path):
    """Two cells of Barlow Twins, one of which another cell started from; one that was stopped."""
    folder = tmp_path / "outputs"
    first = make_cell(folder, "convnet", "barlow", files=True)
    make_cell(folder, "resnet18", "barlow", files=True)
    make_cell(folder, "convnet", "semi", start=first.name, files=True)
    make_cell(folder, "resnet18", "semi", status="interrupted", files=True)
    return folder


def cells(outputs):
    return {path.name: path for path in (outputs / "cells").iterdir()}


def test_unpacked_cells_are_done_and_say_what_is_gone(outputs, tmp_path):
    said = pack(outputs, tmp_path / "pack")
    unpack(tmp_path / "pack", tmp_path / "new")
    before, after = cells(outputs), cells(tmp_path / "new")
    done = {name for name, path in before.items() if load_record(path).status == DONE}
    assert after.keys() == done
    assert len(done) == 3
    assert [line for line in said if "not packed" in line and "semi-resnet18" in line]
    for name, path in after.items():
        record = load_record(path)
        assert flaws_of(path, record) == []
        assert record.results == load_record(before[name]).results
        assert "best.pt" in record.notes[-1]
        for file in record.files:
            assert (path / file).read_bytes() == (before[name] / file).read_bytes()
    report = build_report(tmp_path / "new")
    assert report.problems == []
    assert sum("best.pt" in note for note in report.notes) == 3


def test_what_finds_no_room_is_told_and_leaves_whole_records(outputs, tmp_path):
    said = pack(outputs, tmp_path / "pack", **LIMITS)
    sizes = [path.stat().st_size for path in (tmp_path / "pack").iterdir()]
    assert len(sizes) <= LIMITS["num_parts"]
    assert max(sizes) <= LIMITS["part_bytes"]
    assert sum(sizes) <= LIMITS["all_bytes"]
    assert [line for line in said if "no room" in line]
    unpack(tmp_path / "pack", tmp_path / "new")
    for path in cells(tmp_path / "new").values():
        assert flaws_of(path, load_record(path)) == []
        assert {"settings.json", "metrics.jsonl"} <= load_record(path).files.keys()


def test_a_cell_that_another_is_to_start_from_is_trained_again(outputs, tmp_path):
    pack(outputs, tmp_path / "pack")
    unpack(tmp_path / "pack", tmp_path / "new", to_go_on=True)
    names = sorted(name.rpartition("-digits")[0] for name in cells(tmp_path / "new"))
    assert names == ["barlow-convnet", "semi-convnet"]


def test_a_pack_replaces_the_one_before_and_packs_again(outputs, tmp_path):
    pack(outputs, tmp_path / "pack", num_parts=7, part_bytes=40_000)
    assert len(list((tmp_path / "pack").iterdir())) > 1
    unpack(tmp_path / "pack", tmp_path / "new")
    pack(tmp_path / "new", tmp_path / "pack")
    (only,) = (tmp_path / "pack").iterdir()
    with tarfile.open(only, "r:xz") as archive:
        assert sum(name.endswith("record.json") for name in archive.getnames()) == 3


def test_nothing_is_unpacked_over_cells_or_from_nothing(outputs, tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        unpack(tmp_path, tmp_path / "new")
    pack(outputs, tmp_path / "pack")
    with pytest.raises(ValueError, match="already"):
        unpack(tmp_path / "pack", outputs)
