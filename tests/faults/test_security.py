"""Whole commands: no password in any file, and a W&B that fails in every way costs no result."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.commands import CURVES, TINY, environment, records, share_digits, wait_for

from sslbench.sweep.slots import Place

pytestmark = pytest.mark.slow
SECRET = "s3cr3t"
CELL = [*(word for word in TINY if word != "tracking=off"), "steps=40", "tracking.mode=offline"]
WAITING = "from sslbench import tracking, train; tracking.FINISH_SECONDS = {}; train.main()"


def start(folder, *words, options=(), seconds=60, **variables):
    share_digits(folder / "outputs")
    command = [sys.executable, "-c", WAITING.format(seconds), *options, *CELL, *words]
    variables = environment(folder) | variables
    output = (folder / "output").open("w")  # no pipe, which a stopped service would keep open
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=output)


def finished(folder, process):
    """Wait for a command; its one cell must be done. Return what it said."""
    assert process.wait(120) == 0, (folder / "output").read_text()
    said = (folder / "output").read_text()
    assert [record.status for record in records(folder).values()] == ["done"]
    assert "Traceback" not in said
    return said


def warnings(said):
    return [line for line in said.splitlines() if "Weights & Biases" in line and "sync" not in line]


def test_no_file_of_a_cell_holds_the_password(tmp_path):
    url = f"data.url='https://me:{SECRET}@host/a.tar.gz?key={SECRET}'"
    said = finished(tmp_path, start(tmp_path, url))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in said


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_service_that_stops_in_mid_run_costs_a_line(number, tmp_path):
    process = start(tmp_path, "steps=200", seconds=5)
    wait_for(tmp_path, CURVES)
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    services = [int(pid) for each in children for pid in each.read_text().split()]
    (service,) = [
        it for it in services if b"wandb-core" in Path(f"/proc/{it}/cmdline").read_bytes()
    ]
    os.kill(service, number)
    assert len(warnings(finished(tmp_path, process))) == 1
    deadline = time.monotonic() + 10
    while Path(f"/proc/{service}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("source", ["raise RuntimeError('old numpy')", "raise SystemExit(3)"])
@pytest.mark.parametrize("options", [(), ("-m",)])
def test_a_wandb_that_cannot_be_imported_costs_a_line(options, source, tmp_path):
    (tmp_path / "wandb.py").write_text(source)
    path = os.pathsep.join([str(tmp_path), environment(tmp_path)["PYTHONPATH"]])
    said = finished(tmp_path, start(tmp_path, options=options, PYTHONPATH=path))
    assert len(warnings(said)) == 1


@pytest.mark.parametrize("home", ["/proc/nonexistent", "/proc", ""])
def test_a_user_without_a_home_is_tracked(home, tmp_path):
    said = finished(tmp_path, start(tmp_path, HOME=home, XDG_CACHE_HOME="", XDG_CONFIG_HOME=""))
    assert not warnings(said)
    assert list(tmp_path.glob("outputs/cells/*/wandb/offline-run-*/*.wandb"))


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize("kilobytes", [0, 60])
def test_a_full_disk_of_wandbs_costs_a_line(kilobytes, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed")
    try:
        (small / "fill").write_bytes(bytes((200 - kilobytes) * 1000))
        said = finished(tmp_path, start(tmp_path, "log_every=1", WANDB_DIR=str(small)))
        assert len(warnings(said)) <= 1
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def hold(name, held):
    os.setuid(65534)
    with Place() as place:
        place.take([name], 1)
        held.set()
        time.sleep(60)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_a_place_on_a_gpu_is_one_for_all_users(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=hold, args=(str(tmp_path)[-60:], held))
    other.start()
    assert held.wait(10)
    began = time.monotonic()
    threading.Timer(1, other.kill).start()
    with Place() as place:
        place.take([str(tmp_path)[-60:]], 1)
        assert time.monotonic() - began > 0.9
    other.join()
