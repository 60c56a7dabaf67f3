"""Places of cells on GPUs: held, given back, and given up where the memory is too small."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from helpers.commands import ROOT, records
from helpers.crash import forked, tiny_cell
from helpers.crowded import Crowded

from sslbench.cell.cell import Cell
from sslbench.machine.mps import PIPES
from sslbench.sweep import training
from sslbench.sweep.isolated import train_isolated
from sslbench.sweep.slots import Place


def take(devices, per_device):
    """Take a place, and return it with the device."""
    place = Place()
    return place, place.take(devices, per_device)


def test_places_are_shared_out_and_given_back(tmp_path):
    a, b = (f"{tmp_path}-{name}"[-80:] for name in "ab")  # names of this test's own
    for devices, per_device, found in (((a, b), 1, {0, 1}), ((a,), 2, {0})):
        (one, first), (other, second) = take(devices, per_device), take(devices, per_device)
        assert {first, second} == found
        with one, other:
            pass
    # Who sees the second device alone does not wait for the first, and takes the second one away.
    with take((a,), 1)[0]:
        place, visible = take((b,), 1)
        assert visible == 0
    with place:
        place, left = take((a, b), 1)
        assert left == 0
    with place:
        pass


HOLD = """
import sys, time
from sslbench.sweep.slots import Place
place = Place()
place.take([sys.argv[1]], 1)
print("held", flush=True)
time.sleep(60)
"""


def test_a_place_goes_with_the_process_that_holds_it(tmp_path, monkeypatch):
    name = str(tmp_path)[-60:]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    holder = subprocess.Popen([sys.executable, "-c", HOLD, name], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout.readline() == b"held\n"
    killing = threading.Timer(0.3, holder.send_signal, [signal.SIGKILL])
    killing.start()
    began = time.monotonic()
    with Place() as place:
        assert place.take([name], 1) == 0
    assert 0.2 < time.monotonic() - began < 10
    holder.communicate()
    assert not list(tmp_path.iterdir())  # there is no file to link, to close to others or to delete


def test_a_place_that_a_process_has_filled_stays_with_who_started_it(tmp_path):
    name = str(tmp_path)[-60:]
    with Place() as mine, Place() as other, Place() as third:
        assert other.take([name], 3) == 0
        process = forked().Process(target=mine.take, args=([name], 3))
        process.start()
        process.join()
        assert third.take([name], 3) == 0
        assert mine.give_up(3) == 2


def test_places_are_given_up_where_others_are_and_never_the_last(tmp_path):
    name = str(tmp_path)[-60:]
    with Place() as alone:
        assert alone.give_up(3) is None  # it has none
        alone.take([name], 3)
        assert alone.give_up(3) is None
    first, second, third = (take([name], 3)[0] for _ in range(3))
    for place, left in ((first, 2), (second, 1), (third, None)):
        with place:
            assert place.give_up(3) == left
    with Place() as last:
        last.take([name], 3)
        assert last.give_up(3) is None


def test_a_cell_without_room_beside_others_lowers_their_number_and_is_tried_again(tmp_path, capsys):
    settings = tiny_cell(tmp_path / "outputs", "steps=1", "cells_per_device=2").settings
    crowded = Crowded(**vars(settings.optimizer), folder=str(tmp_path))
    both = [Cell(replace(settings, optimizer=crowded, seed=seed), dict) for seed in range(2)]
    for cell in both:
        cell.save_request()
    with ThreadPoolExecutor(2) as sweep:
        list(sweep.map(train_isolated, both))
    said = capsys.readouterr().out
    assert {record.status for record in records(tmp_path).values()} == {"done"}, said
    assert sorted(record.failures for record in records(tmp_path).values()) == [0, 1]
    told = "out of memory on a GPU that other cells share; from now on it takes at most 1 at a time"
    assert said.count(told) == 1
    assert (tmp_path / "done-before").read_text() == "1"  # it waited for the other one


def test_a_cell_that_mps_does_not_let_in_is_not_trained_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(training, "num_gpus", lambda: 1)
    monkeypatch.setenv(PIPES, str(tmp_path))
    cell = tiny_cell(tmp_path / "outputs", "steps=1")
    with Place() as place, cell.folder.locked():
        record = training.train_on_a_free_device(cell, place)
    assert (record.status, record.error["message"][:30]) == (
        "failed",
        "device=cuda: 0 GPUs are visibl",
    )
