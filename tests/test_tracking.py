"""What W&B gets of a cell and of a sweep, read back from offline runs; that it costs nothing."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import ChainMap, defaultdict
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock
from unittest.mock import MagicMock

import numpy as np
import pytest
import wandb
from helpers.commands import train_here
from helpers.crash import signalled
from helpers.synthetic import make_cell
from PIL import Image
from wandb.cli.cli import cli as wandb_command

from sslbench import dashboard, tracking, wandb_run
from sslbench.cell.record import Record, load_record
from sslbench.config.settings import Tracking

PARTS = ("method", "model", "data")
KEY, DEAD_SERVER = "a" * 40, "http://127.0.0.1:9"
NAMES = ["$x$ $\\frac$", "_background_", "<b>" * 100, "日本 😀"]
CELL = (
    *("data=digits", "threads=1", "model.channels=8", "method=semi", "method.batch_size=8"),
    *("method.unlabeled_batch_size=8", "steps=12", "log_every=2", "method.eval_every=0.5"),
    *("tracking.mode=offline", "tracking.group=table3", "tracking.checkpoints=true"),
)


@contextmanager
def without_account(home):
    """Keep out of the user's home and away from the user's key; undo what W&B sets."""
    with mock.patch.dict(os.environ, HOME=str(home)):
        for name in [name for name in os.environ if name.startswith("WANDB_")] + ["NETRC"]:
            os.environ.pop(name, None)
        yield
        wandb.teardown()


@pytest.fixture(autouse=True)
def _without_account(tmp_path):
    with without_account(tmp_path):
        yield


def read_run(path):
    """Return what an offline run's file holds, which W&B's command prints by a program of its own.

    The command itself runs in this process, which has imported all that it needs.
    """
    with tempfile.TemporaryFile("w+") as printed:
        terminal = os.dup(1)
        os.dup2(printed.fileno(), 1)
        with pytest.raises(SystemExit, match="0"):
            wandb_command(["leet", "inspect", "--json", str(path)])
        os.dup2(terminal, 1)
        os.close(terminal)
        printed.seek(0)
        lines = printed.read().splitlines()
    records = defaultdict(list)
    for record in map(json.loads, lines):
        records[record["type"]].append(record.get(record["type"]))
    return SimpleNamespace(
        files=path.parent / "files",
        start=records["run"][0],
        history=[record["item"] for record in records["history"]],
        summary=dict(ChainMap(*(record["update"] for record in reversed(records["summary"])))),
        artifacts=[(record["type"], record["name"]) for record in records["artifact"]],
        exit_code=records["exit"][-1]["exit_code"],
    )


def read_runs(folder):
    """Return all offline runs below a folder, the oldest first."""
    paths = folder.glob("**/offline-run-*/*.wandb")
    return [read_run(path) for path in sorted(paths, key=lambda path: path.stat().st_ctime)]


def read_table(run, name):
    return json.loads((run.files / run.history[-1][f"{name}.path"]).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a cell that is stopped on its way: its folder and W&B's two runs."""
    folder = tmp_path_factory.mktemp("trained")
    with without_account(folder):
        with signalled(5, signal.SIGTERM):
            assert train_here(folder, *CELL).returncode == 128 + signal.SIGTERM
        time.sleep(1)  # W&B names runs' folders by the second
        again = train_here(folder, *CELL)
    assert again.returncode == 0, again
    [cell] = (folder / "outputs" / "cells").iterdir()
    return cell, *read_runs(cell)


def test_a_stopped_cell_goes_on_in_its_own_run(trained):
    cell, stopped, resumed = trained
    assert stopped.start["run_id"] == resumed.start["run_id"] == cell.name
    assert stopped.exit_code == 128 + signal.SIGTERM
    assert stopped.summary["status"] == "interrupted"
    assert resumed.exit_code == 0
    sent = {}
    for point in stopped.history + resumed.history:
        sent.setdefault(point["step"], {}).update(point)
    for line in (cell / "metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        split, step = point.pop("split"), point.pop("step")
        found = {key.removeprefix(f"{split}/"): value for key, value in sent[step].items()}
        point.pop("seconds", None)  # both splits have it, and differ
        assert {key: found[key] for key in point} == pytest.approx(point)


def test_a_run_says_what_it_is_and_what_came_of_it(trained):
    cell, _, found = trained
    record = load_record(cell)
    assert found.start["display_name"] == "semi convnet 1:20 seed 0"
    assert (found.start["job_type"], found.start["run_group"]) == ("semi", "table3")
    assert set(found.start["tags"]) == {"convnet", "1:20", "digits", "seed 0"}
    assert found.start["config"]["update"]["method"]["unlabeled_batch_size"] == 8
    assert found.summary["status"] == "done"
    for split in ("train", "train_plain", "val", "test"):
        assert found.summary[f"{split}/accuracy"] == record.results[split]["accuracy"]
    assert ("model", cell.name) in found.artifacts


def start(folder, cell="cell", **options):
    settings = SimpleNamespace(
        tracking=Tracking(**options),
        uses_pool=False,
        seed=0,
        **{part: SimpleNamespace(name=part, safe_name=part) for part in PARTS},
    )
    return tracking.start_tracker(settings, cell, folder, {"seed": 0})


@pytest.fixture
def finished(tmp_path):
    """Make up a finished cell whose classes have unkind names."""
    labels = np.arange(40) % 4
    guesses = np.where(np.arange(40) < 30, labels, 0)
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    arrays = {"embeddings": values, "labels": labels, "indices": np.arange(40)}
    np.savez(tmp_path / "embeddings-test.npz", **arrays, logits=np.eye(4)[guesses])
    Image.new("RGB", (4, 4)).save(tmp_path / "images.png")
    record = Record("cell", "done", {}, data={"class_names": NAMES})
    record.results = {"steps": 7, "test": {"accuracy": np.mean(labels == guesses)}}
    return record


@pytest.mark.parametrize("home", [".", "nowhere"])
def test_classes_of_any_name_are_shown_with_or_without_a_home(home, finished, tmp_path, caplog):
    os.environ["HOME"] = str(tmp_path / home)
    tracker = start(tmp_path, mode="offline")
    tracker.results(finished, tmp_path)
    tracker.finish(0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    (run,) = read_runs(tmp_path)
    assert run.history[-1]["step"] == 7
    assert Image.open(run.files / run.history[-1]["embeddings/tsne.path"]).size == (640, 480)
    confusion = read_table(run, "confusion_matrix_table")["data"]
    assert {(row[0], row[1]) for row in confusion} == {(a, b) for a in NAMES for b in NAMES}
    points = read_table(run, "embeddings/table")
    assert points["columns"] == ["image", "x", "y", "label", "prediction", "correct"]
    assert {row[3] for row in points["data"]} == set(NAMES)
    assert np.mean([row[5] for row in points["data"]]) == finished.results["test"]["accuracy"]


def test_a_run_that_wandbs_agent_waits_for_has_the_id_that_it_gave(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tracking, "start_run", lambda *_, **more: asked.append(more["id"]))
    os.environ["WANDB_RUN_ID"] = "of-the-agent"
    start(tmp_path).finish(0)
    os.environ["WANDB_SWEEP_ID"] = "sweep"
    start(tmp_path).finish(0)
    assert asked == ["cell", "of-the-agent"]


def test_wandbs_variables_say_what_the_settings_leave_open(tmp_path):
    own = {"PROJECT": "mine", "ENTITY": "me", "RUN_GROUP": "ours", "NAME": "one", "TAGS": "a,b"}
    os.environ.update({f"WANDB_{name}": value for name, value in own.items()})
    os.environ |= {"WANDB_DIR": str(tmp_path / "there"), "WANDB_MODE": "offline"}
    (tmp_path / "there").mkdir()
    start(tmp_path / "here").finish(0)
    start(tmp_path / "here", "typed", project="p", entity="e", group="g").finish(0)
    first, typed = (found.start for found in read_runs(tmp_path / "there"))
    assert (first["project"], first["entity"], first["run_group"]) == ("mine", "me", "ours")
    assert first["display_name"] == "one"
    assert {"a", "b", "model"} <= set(first["tags"])
    assert (typed["project"], typed["entity"], typed["run_group"]) == ("p", "e", "g")


@pytest.mark.parametrize(
    ("mode", "variables", "expected", "warning"),
    [
        ("auto", {"WANDB_API_KEY": KEY}, ["online", "offline"], ""),
        ("auto", {"WANDB_API_KEY": "short"}, ["offline"], "WANDB_API_KEY"),
        ("auto", {"WANDB_MODE": "disabled"}, [], ""),
        ("auto", {"WANDB_MODE": "online"}, ["offline"], "no key is configured"),
        ("online", {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, ["online", "offline"], ""),
        ("offline", {"WANDB_MODE": "disabled"}, ["offline"], ""),
    ],
)
def test_it_is_online_only_with_a_key(mode, variables, expected, warning, caplog):
    os.environ.update(variables)
    assert wandb_run.tracking_modes(mode) == expected
    assert warning in caplog.text
    assert bool(caplog.text) == bool(warning)


def test_where_the_server_does_not_answer_the_run_is_recorded_offline(tmp_path, caplog):
    os.environ |= {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": DEAD_SERVER, "WANDB_INIT_TIMEOUT": "1"}
    started = time.monotonic()
    tracker = start(tmp_path)
    tracker.log({"step": 1, "train/loss": 2.0})
    tracker.finish(0)
    assert time.monotonic() - started < 20
    assert caplog.text.count("(online) did not start") == 1
    (run,) = read_runs(tmp_path)
    assert run.history[0]["train/loss"] == 2.0


def test_a_run_that_breaks_is_only_closed(finished, tmp_path, caplog):
    run = MagicMock()
    run.log.side_effect = [None, ConnectionResetError("connection lost")]
    tracker = tracking.WandbTracker(lambda: run)
    for _ in range(3):
        tracker.log({"step": 1})
    tracker.results(finished, tmp_path)
    tracker.finish(0)
    tracker.finish(1)
    assert run.log.call_count == 2
    run.summary.update.assert_not_called()
    run.finish.assert_called_once_with(exit_code=0)
    assert caplog.text.count("going on without it: ConnectionResetError: connection lost") == 1


def leave(*arguments):
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(list(arguments))
    return stopped.value.code


def test_a_dry_run_writes_what_is_saved_and_the_tables_go_to_one_run(tmp_path, capsys):
    outputs = tmp_path / "outputs"
    for model in ("convnet", "resnet18"):
        make_cell(outputs, model)
    assert leave("--entity=me", "--project=mine", "--dry-run", f"--outputs={outputs}") == 0
    contents = json.loads((outputs / "report" / "dashboard.json").read_text())
    assert contents["account"] == {"entity": "me", "project": "mine"}
    written = json.dumps(contents)
    for name in ("val/accuracy", "test/accuracy", "method.name", "embeddings/tsne"):
        assert f'"{name}"' in written
    answer, *tables = contents["markdown"]
    assert contents["verdict"] in answer
    assert len(tables) == len(contents["tables"]) > 0
    lines = [line for table in contents["tables"].values() for line in table["data"]]
    assert any(isinstance(value, float) for line in lines for value in line)
    for _ in range(2):
        assert leave("--summary", f"--outputs={outputs}") == 0
    assert "wandb sync" in capsys.readouterr().out
    first, second = read_runs(outputs / "report")
    assert first.start["run_id"] == second.start["run_id"] == "summary"
    for name, table in contents["tables"].items():
        assert read_table(second, f"tables/{name}")["data"] == table["data"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--entity=me", "wandb login"), ("--dry-run", "--entity is needed")],
)
def test_what_a_dashboard_lacks_is_named(argument, message, tmp_path, capsys):
    assert leave(argument, f"--outputs={tmp_path}") == 2
    assert message in capsys.readouterr().err


def test_wandb_is_imported_only_where_it_is_used():
    code = "import sys, sslbench.tracking, sslbench.dashboard; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
