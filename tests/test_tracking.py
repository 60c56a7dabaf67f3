"""What W&B gets of a cell, read back from offline runs; and that W&B cannot harm a cell."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from crash import in_process, kill_at_step, signal_at_step, tiny_cell, train
from wandb_files import read_runs

from sslbench import tracking
from sslbench.cell.record import Record
from sslbench.config.settings import Tracking

SEMI = (
    "method=semi",
    "steps=18",
    "method.unlabeled_batch_size=8",
    "tracking=wandb",
    "tracking.mode=offline",
    "tracking.group=table3",
)
SHORT = ("method=supervised", "steps=2", "tracking=wandb", "tracking.mode=offline")


@pytest.fixture(autouse=True)
def without_account(tmp_path, monkeypatch):
    """Keep out of the user's home, and away from the user's key."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request.getproxies", dict)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Track a cell to its end: its record, its folder, what W&B got."""
    outputs = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(outputs))
        record = train(outputs, *SEMI, "tracking.checkpoints=true")
    _, cell = tiny_cell(outputs, *SEMI)
    assert record.status == "done", record.error
    assert "Weights & Biases" not in cell.log_path.read_text()
    runs = read_runs(cell.path)
    assert len(runs) == 1
    return record, cell.path, runs[0]


def media(folder, value_path):
    (path,) = folder.glob(f"wandb/offline-run-*/files/{value_path}")
    return path


def test_a_run_is_named_by_its_cell_and_sorted_by_what_it_is(tracked):
    record, _, found = tracked
    assert found.run.run_id == record.cell
    assert found.run.display_name == "semi convnet 1:20 seed 0"
    assert found.run.run_group == "table3"
    assert found.run.job_type == "semi"
    assert set(found.run.tags) == {"convnet", "1:20", "digits", "seed 0"}
    assert found.config["cell"] == record.cell
    assert found.config["method"]["unlabeled_batch_size"] == 8
    assert found.exit_code == 0


def test_curves_hold_the_points_of_the_cells_own(tracked):
    _, folder, found = tracked
    own = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    sent = [point for point in found.history if "epoch" in point]
    assert [point["step"] for point in sent] == [point["step"] for point in own]
    for theirs, ours in zip(sent, own, strict=True):
        split = ours.pop("split")
        for name, value in ours.items():
            key = name if name in ("step", "epoch") else f"{split}/{name}"
            assert theirs[key] == pytest.approx(value)


def test_the_summary_holds_the_figures(tracked):
    record, _, found = tracked
    assert found.summary["status"] == "done"
    assert found.summary["steps"] == 18
    for split in ("train", "train_plain", "val", "test"):
        assert found.summary[f"{split}/accuracy"] == record.results[split]["accuracy"]
    assert found.summary["train_seconds"] == record.runtime["train_seconds"]


def test_pictures_and_tables_are_there(tracked):
    record, folder, found = tracked
    last = found.history[-1]
    assert last["step"] == 18
    sheet = media(folder, last["images/path"])
    assert sheet.read_bytes() == (folder / "images.png").read_bytes()
    assert media(folder, last["embeddings/tsne/path"]).read_bytes()[:4] == b"\x89PNG"

    confusion = json.loads(media(folder, last["confusion_matrix_table/path"]).read_text())
    names = record.data["class_names"]
    counted = {(row[0], row[1]): row[2] for row in confusion["data"]}
    for i, row in enumerate(record.results["test"]["confusion"]):
        assert [counted[names[i], name] for name in names] == row

    points = json.loads(media(folder, last["embeddings/table/path"]).read_text())
    assert points["columns"] == ["image", "x", "y", "label", "prediction", "correct"]
    assert len(points["data"]) == min(record.data["num_test"], tracking.MAX_POINTS)
    right = np.mean([row[-1] for row in points["data"]])
    assert right == pytest.approx(record.results["test"]["accuracy"])
    assert all((row[3] == row[4]) == row[5] for row in points["data"])


def test_the_weights_are_an_artifact_where_asked_for(tracked, tmp_path):
    record, _, found = tracked
    assert ("model", record.cell) in found.artifacts
    train(tmp_path, *SHORT)
    _, cell = tiny_cell(tmp_path, *SHORT)
    (without,) = read_runs(cell.path)
    assert without.history
    assert "model" not in {kind for kind, _ in without.artifacts}


def with_own_wandb(home, function, *arguments):
    """In a new process: have no part in W&B's service of the process that made it."""
    os.environ["HOME"] = home
    os.environ.pop("WANDB_SERVICE", None)
    function(*arguments)


def kill_once_written(*arguments):
    kill = os.kill

    def later(*of_whom):
        time.sleep(2)  # W&B writes every second
        kill(*of_whom)

    os.kill = later
    kill_at_step(*arguments)


def test_a_killed_cell_goes_on_in_the_same_run(tracked, tmp_path):
    code = in_process(with_own_wandb, str(tmp_path), kill_once_written, 9, tmp_path, *SEMI)
    assert code == -signal.SIGKILL
    train(tmp_path, *SEMI)
    record, _, undisturbed = tracked
    _, cell = tiny_cell(tmp_path, *SEMI)
    killed, resumed = read_runs(cell.path)
    assert killed.run.run_id == resumed.run.run_id == record.cell
    saved = max(point["step"] for point in killed.history if "val/accuracy" in point)
    assert all(point["step"] > saved for point in resumed.history)
    by_step = {}
    for point in killed.history + resumed.history:
        by_step.setdefault(point["step"], {}).update(point)
    for point in undisturbed.history:
        for name in ("train/loss", "val/accuracy"):
            if name in point:
                assert by_step[point["step"]][name] == point[name]


def test_how_a_cell_ended_is_seen(tmp_path):
    arguments = (signal_at_step, 6, signal.SIGTERM, tmp_path, *SEMI)
    assert in_process(with_own_wandb, str(tmp_path), *arguments) == 0
    _, cell = tiny_cell(tmp_path, *SEMI)
    (stopped,) = read_runs(cell.path)
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert stopped.summary["status"] == "interrupted"

    broken = (*SHORT, "steps=18", "optimizer.lr=1e30")
    train(tmp_path, *broken)
    _, cell = tiny_cell(tmp_path, *broken)
    (failed,) = read_runs(cell.path)
    assert failed.exit_code == 1
    assert failed.summary["status"] == "failed"
    assert "not finite" in failed.summary["error"]


def test_a_second_ctrl_c_closes_the_run(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sslbench.engine.loop._Fit.take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, *SHORT)
    _, cell = tiny_cell(tmp_path, *SHORT)
    (found,) = read_runs(cell.path)
    assert found.exit_code == 1


class BrokenRun:
    """A run that fails from its n-th call on."""

    def __init__(self, sound_calls):
        self.sound_calls = sound_calls
        self.calls = []
        self.summary = self

    def _call(self, name):
        self.calls.append(name)
        if len(self.calls) > self.sound_calls:
            raise ConnectionResetError("connection lost")

    def log(self, point):
        self._call("log")

    def update(self, values):
        self._call("summary")

    def finish(self, exit_code):
        self._call("finish")


@pytest.mark.parametrize("sound_calls", [0, 1, 3])
def test_a_broken_tracker_costs_a_cell_nothing(sound_calls, tmp_path, monkeypatch, caplog):
    broken = BrokenRun(sound_calls)
    monkeypatch.setattr(tracking, "start_run", lambda *_, **__: broken)
    with caplog.at_level(logging.WARNING):
        assert train(tmp_path, *SHORT).status == "done"
    assert broken.calls[-1] == "finish"
    assert len(broken.calls) == sound_calls + 2, "it was called again after it had failed"
    assert "going on without it: ConnectionResetError('connection lost')" in caplog.text


def test_a_tracker_that_does_not_start_costs_a_cell_nothing(tmp_path, monkeypatch, caplog):
    def refuse(**_):
        raise RuntimeError("no such entity")

    monkeypatch.setattr("wandb.init", refuse)
    with caplog.at_level(logging.WARNING):
        assert train(tmp_path, *SHORT).status == "done"
    assert "did not start, going on without it: RuntimeError('no such entity')" in caplog.text


def test_wrong_results_are_a_warning(tmp_path, caplog):
    run = BrokenRun(sound_calls=99)
    tracker = tracking.WandbTracker(run)
    tracker.results(Record("cell", "done", {}, data={"class_names": []}), tmp_path / "nowhere")
    tracker.finish(0)
    tracker.finish(1)
    assert "going on without it" in caplog.text
    assert run.calls == ["summary", "finish"]


@pytest.fixture
def server(monkeypatch):
    """Listen as W&B's server, for as long as the test likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield listener


def test_without_a_key_nothing_is_online(server, caplog):
    assert tracking.tracking_mode(Tracking(mode="auto")) == "offline"
    assert not caplog.text
    assert tracking.tracking_mode(Tracking(mode="online")) == "offline"
    assert "no key is configured" in caplog.text


def test_with_a_key_it_is_online_where_the_server_answers(server, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert tracking.tracking_mode(Tracking(mode="auto")) == "online"
    server.close()
    assert tracking.tracking_mode(Tracking(mode="auto")) == "offline"
    assert "does not answer" in caplog.text
    assert tracking.tracking_mode(Tracking(mode="online")) == "online"


def test_a_key_is_found_in_netrc(server, tmp_path, monkeypatch):
    host = os.environ["WANDB_BASE_URL"].removeprefix("http://")
    path = tmp_path / ".netrc"
    path.write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    path.chmod(0o600)
    assert tracking.tracking_mode(Tracking(mode="auto")) == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracking.tracking_mode(Tracking(mode="auto")) == "disabled"
    assert tracking.tracking_mode(Tracking(mode="offline")) == "offline"


def test_a_server_that_swallows_everything_is_waited_for_only_so_long(
    server, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(tracking, "INIT_SECONDS", 1.0)
    record = train(tmp_path, *SHORT[:3], "tracking.mode=online")
    assert record.status == "done"
    assert "(online) did not start" in caplog.text


def test_wandb_is_not_imported_without_tracking():
    code = "import sys, sslbench.tracking; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
