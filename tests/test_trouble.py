"""What users read when their machine, their settings or our code fails."""

import errno

import pytest
import torch
from helpers.cells import compose
from helpers.commands import TINY, only_cell, train_here

from sslbench.config.paths import expand
from sslbench.engine import room
from sslbench.machine.memory import available_memory, free_disk, size
from sslbench.words.trouble import find_trouble
from sslbench.words.wording import fold, shorten

GIB = 2**30


def save_to_a_full_disk(*arguments):
    """Fail as torch.save does: torch's error hides the system's."""
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904


def raised(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            OSError(errno.ENOSPC, "", "/tmp/a"),
            "DiskFull",
            ["/tmp/a: the disk is full (", "B free)"],
        ),
        (OSError(errno.EDQUOT, "", "/tmp/a"), "DiskFull", ["/tmp/a: ", "quota", "make room"]),
        (OSError(errno.EIO, "", "a"), "FileTrouble", ["a: the disk does not read or write it"]),
        (OSError(errno.EROFS, "", "a"), "FileTrouble", ["a: its disk is read-only; choose"]),
        (OSError(errno.EISDIR, "Is a directory", "a"), "FileTrouble", ["a: is a directory"]),
        (raised(save_to_a_full_disk), "DiskFull", ["the disk is full"]),
        (
            MemoryError(),
            "OutOfMemory",
            ["out of memory (", "are free); lower method.batch_size=8,"],
        ),
        (raised(torch.empty, 10**15), "OutOfMemory", ["4000.0 TB more were asked for", "are free"]),
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                "79.10 GiB of which 1.50 GiB is free."
            ),
            "OutOfMemory",
            ["the GPU is out of memory (2.1 GB more were asked for, 1.50 GiB are free); lower "],
        ),
        (RuntimeError("can't start new thread"), "OutOfThreads", ["lower threads=…"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_the_machines_is_told_with_the_way_out(error, kind, words):
    found = find_trouble(error, "method.batch_size=8")
    assert found.kind == kind
    for each in words:
        assert each in found.sentence


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("shapes differ"), ValueError("no")])
def test_what_is_not_the_machines_is_not(error):
    assert find_trouble(error) is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (save_to_a_full_disk, "last.pt: the disk is full ("),
        ({}.__getitem__, "KeyError: "),
    ],
)
def test_the_traceback_is_in_the_cells_log_and_not_on_the_terminal(
    fault, told, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch, "save", lambda *_: fault("state"))
    result = train_here(tmp_path, *TINY, "steps=1", "method.select=last")
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    cell = only_cell(tmp_path)
    assert told in result.stdout
    assert "Traceback" in cell.log_path.read_text()
    assert "Traceback" in cell.record().error["traceback"]


def test_a_bug_is_one_line_that_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr("sslbench.sweep.job.summary", {}.__getitem__)
    result = train_here(tmp_path, *TINY, "steps=1")
    assert result.returncode == 1
    assert "this is a bug in sslbench (" in result.stderr
    assert "job.py:" in result.stderr
    assert "HYDRA_FULL_ERROR=1 shows the traceback" in result.stderr
    assert "Traceback" not in result.stderr
    asked = train_here(tmp_path, *TINY, "steps=1", env={"HYDRA_FULL_ERROR": "1"})
    assert "Traceback" in asked.stderr


def test_long_values_are_shortened_and_long_lines_broken_before_a_hint():
    value = "x" * 20_000
    for text in (f"outputs={value}: no", f"model='{value[:150]} {value}': no"):
        short = shorten(text)
        assert len(short) < 200
        assert "characters)" in short
        assert short.endswith("no")
    assert shorten("a word " * 30) == "a word " * 30
    line = "model=x: " + "a" * 60 + "; b; " + "c" * 60
    assert fold(line) == "model=x: " + "a" * 60 + "; b;\n    " + "c" * 60
    assert fold("a; b") == "a; b"


def test_home_and_variables_are_expanded_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SSLBENCH_DATA", "~/data")
    typed = ("outputs=~/a", "data.url='file://$HOME/x.tar.gz'", "init.from=$HOME/last.pt")
    settings = compose("data=stl10", *typed[1:], "outputs='~/a b'")
    assert (settings.outputs, settings.data.root) == ("/home/me/a b", "/home/me/data")
    assert (settings.data.url, settings.init_from) == (
        "file:///home/me/x.tar.gz",
        "/home/me/last.pt",
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$cash").mkdir()
    for path in ("a~b", "for $5", "$写真", "$cash"):
        assert expand("outputs", path) == path
    for path, words in (
        ("$NO_SUCH/a", r"no variable \$NO_SUCH"),
        ("~no-such/a", "user no-such"),
        ("", "empty"),
    ):
        with pytest.raises(ValueError, match=words):
            expand("outputs", path)


class TestRoom:
    @pytest.fixture(autouse=True)
    def memory(self, monkeypatch):
        monkeypatch.setattr(room, "available_memory", lambda: 16 * GIB)

    @pytest.mark.parametrize(
        "words",
        [
            "",
            "model=resnet18",
            "method=barlow method.projector=[8192,8192,8192]",
            "model=wrn45_2 method=semi method.batch_size=32",
            "method.batch_size=5000",
        ],
    )
    def test_what_fits_is_not_refused(self, words):
        settings = compose("device=cpu", "precision=fp32", *words.split())
        room.require_room_for_images(settings)
        room.require_room(settings)

    @pytest.mark.parametrize(
        ("words", "named"),
        [
            ("method.batch_size=100000", "method.batch_size=100000"),
            ("method=semi method.unlabeled_batch_size=90000", "method.unlabeled_batch_size=90000"),
            ("method=semi ratio.of=batch ratio=1:9000", "ratio=1:9000"),
            ("model.channels=65536", "model.channels=65536"),
            ("model=wrn45_2 model.widths=[9000,8,8,8]", "model.widths="),
            ("method=barlow method.projector=[8,900000,900000]", "method.projector="),
        ],
    )
    def test_what_is_absurd_is_refused_by_the_setting_to_lower(self, words, named):
        settings = compose("device=cpu", "precision=fp32", *words.split())
        with pytest.raises(ValueError, match="17.2 GB are free; lower ") as refused:
            room.require_room(settings)
        assert str(refused.value).startswith(named)

    def test_images_that_do_not_fit_are_refused_without_torch(self):
        with pytest.raises(ValueError, match="method.batch_size=1000000: a step would take about"):
            room.require_room_for_images(compose("method.batch_size=1000000"))


def test_memory_and_disk_are_those_of_this_machine(tmp_path):
    assert GIB / 8 < available_memory() < 2**50
    assert free_disk(tmp_path / "not" / "there") > 0
    assert [size(n) for n in (12, 1.5e6, 2e9, 4e15)] == ["12 B", "1.5 MB", "2.0 GB", "4000.0 TB"]
