"""What W&B gets of a cell and of a sweep, read back from offline runs; that it costs nothing."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import wandb
from PIL import Image

from sslbench import dashboard, tracking
from sslbench.cell.record import Record, load_record
from sslbench.config.settings import Tracking

ROOT = Path(__file__).resolve().parent.parent
KEY, DEAD_SERVER = "a" * 40, "http://127.0.0.1:9"
NAMES = ["$x$ $\\frac$", "_background_", "<b>", "日本"]
CELL = (
    *("data=digits", "threads=1", "model.channels=8", "method=semi", "method.batch_size=8"),
    *("method.unlabeled_batch_size=8", "steps=200", "log_every=2"),
    *("tracking.mode=offline", "tracking.group=table3", "tracking.checkpoints=true"),
)


@pytest.fixture(autouse=True)
def _without_account(tmp_path):
    """Keep out of the user's home and away from the user's key; undo what W&B sets."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("WANDB_")] + ["NETRC"]:
        os.environ.pop(name, None)
    os.environ["HOME"] = str(tmp_path)
    yield
    wandb.teardown()
    os.environ.clear()
    os.environ.update(before)


def run_module(folder, *arguments, **options):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    clean |= {"HOME": str(folder), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=folder, env=clean, **pipes, **options
    )


def read_runs(folder):
    """Return of each offline run below a folder, the oldest first, its records by type."""
    runs = []
    for path in sorted(folder.glob("**/offline-run-*/*.wandb")):
        command = ["wandb", "leet", "inspect", "--json", str(path)]
        lines = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        run = SimpleNamespace(files=path.parent / "files", history=[], artifacts=[], summary={})
        for record in map(json.loads, lines):
            contents = record.get(record["type"])
            match record["type"]:
                case "run":
                    run.run = contents
                case "history":
                    run.history.append(contents["item"])
                case "summary":
                    run.summary |= contents["update"]
                case "artifact":
                    run.artifacts.append((contents["type"], contents["name"]))
                case "exit":
                    run.exit_code = contents["exit_code"]
        runs.append(run)
    return runs


def read_table(run, name):
    path = run.history[-1][f"{name}.path"]
    return json.loads((run.files / path).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a cell that is stopped on its way: its folder and W&B's two runs."""
    folder = tmp_path_factory.mktemp("trained")
    process = run_module(folder, "sslbench.train", *CELL)
    deadline = time.monotonic() + 120
    while not list(folder.glob("outputs/cells/*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    again = run_module(folder, "sslbench.train", *CELL)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    [cell] = (folder / "outputs" / "cells").iterdir()
    return cell, *read_runs(cell)


def test_a_stopped_cell_goes_on_in_its_own_run(trained):
    cell, stopped, resumed = trained
    assert stopped.run["run_id"] == resumed.run["run_id"] == cell.name
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
    assert found.run["display_name"] == "semi convnet 1:20 seed 0"
    assert (found.run["job_type"], found.run["run_group"]) == ("semi", "table3")
    assert set(found.run["tags"]) == {"convnet", "1:20", "digits", "seed 0"}
    assert found.run["config"]["update"]["method"]["unlabeled_batch_size"] == 8
    assert found.summary["status"] == "done"
    for split in ("train", "train_plain", "val", "test"):
        assert found.summary[f"{split}/accuracy"] == record.results[split]["accuracy"]
    assert ("model", cell.name) in found.artifacts
    assert (found.files / found.history[-1]["images.path"]).read_bytes() == (
        cell / "images.png"
    ).read_bytes()


def start(folder, cell="cell", **options):
    settings = SimpleNamespace(
        tracking=Tracking(**options),
        uses_pool=False,
        seed=0,
        **{part: SimpleNamespace(name=part) for part in ("method", "model", "data")},
    )
    return tracking.start_tracker(settings, cell, folder, {"seed": 0})


@pytest.fixture
def finished(tmp_path):
    """Make up a finished cell whose classes have unkind names."""
    labels = np.arange(40) % 4
    guesses = np.where(np.arange(40) < 30, labels, 0)
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(
        tmp_path / "embeddings-test.npz",
        **{"embeddings": values, "labels": labels, "indices": np.arange(40)},
        logits=np.eye(4)[guesses],
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "images.png")
    record = Record("cell", "done", {}, data={"class_names": NAMES})
    record.results = {"steps": 7, "test": {"accuracy": np.mean(labels == guesses)}}
    return record


def test_classes_of_any_name_are_shown(finished, tmp_path, caplog):
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


def test_wandbs_variables_say_what_the_settings_leave_open(tmp_path):
    own = {"PROJECT": "mine", "ENTITY": "me", "RUN_GROUP": "ours", "NAME": "one", "TAGS": "a,b"}
    os.environ.update({f"WANDB_{name}": value for name, value in own.items()})
    os.environ |= {"WANDB_DIR": str(tmp_path / "there"), "WANDB_MODE": "offline"}
    (tmp_path / "there").mkdir()
    start(tmp_path / "here").finish(0)
    start(tmp_path / "here", "typed", project="p", entity="e", group="g").finish(0)
    first, typed = (found.run for found in read_runs(tmp_path / "there"))
    assert (first["project"], first["entity"], first["run_group"]) == ("mine", "me", "ours")
    assert first["display_name"] == "one"
    assert {"a", "b", "model"} <= set(first["tags"])
    assert (typed["project"], typed["entity"], typed["run_group"]) == ("p", "e", "g")


@pytest.mark.parametrize(
    ("mode", "variables", "expected", "warning"),
    [
        ("auto", {}, ["offline"], ""),
        ("auto", {"WANDB_API_KEY": KEY}, ["online", "offline"], ""),
        ("auto", {"WANDB_API_KEY": "short"}, ["offline"], "WANDB_API_KEY"),
        ("auto", {"WANDB_MODE": "disabled"}, [], ""),
        ("auto", {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, ["offline"], ""),
        ("auto", {"WANDB_MODE": "online"}, ["offline"], "no key is configured"),
        ("online", {}, ["offline"], "no key is configured"),
        ("online", {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, ["online", "offline"], ""),
        ("offline", {"WANDB_MODE": "disabled"}, ["offline"], ""),
    ],
)
def test_it_is_online_only_with_a_key(mode, variables, expected, warning, caplog):
    os.environ.update(variables)
    assert tracking.tracking_modes(mode) == expected
    assert warning in caplog.text
    assert bool(caplog.text) == bool(warning)


def test_a_key_is_found_where_wandb_login_puts_it(tmp_path):
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    os.environ["WANDB_BASE_URL"] = "https://api.wandb.ai"
    assert tracking.has_key()


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


def test_without_a_home_wandb_writes_beside_the_cell(finished, tmp_path, caplog):
    os.environ["HOME"] = str(tmp_path / "nowhere")
    tracker = start(tmp_path, mode="offline")
    tracker.results(finished, tmp_path)
    tracker.finish(0)
    assert "going on without it" not in caplog.text
    assert read_runs(tmp_path)[0].history


def test_a_run_that_does_not_start_costs_one_line_for_each_try(tmp_path, monkeypatch, caplog):
    def refuse(**_):
        raise RuntimeError("no such entity\nand more")

    monkeypatch.setattr("wandb.init", refuse)
    tracker = start(tmp_path, mode="offline")
    tracker.log({"step": 1})
    tracker.finish(0)
    assert [record.message for record in caplog.records] == [
        "Weights & Biases (offline) did not start: RuntimeError: no such entity"
    ]


@pytest.mark.parametrize("sound_calls", [0, 1])
def test_a_run_that_breaks_is_only_closed(sound_calls, finished, tmp_path, caplog):
    run = MagicMock()
    run.log.side_effect = [None] * sound_calls + [ConnectionResetError("connection lost")]
    tracker = tracking.WandbTracker(run)
    for _ in range(3):
        tracker.log({"step": 1})
    tracker.results(finished, tmp_path)
    tracker.finish(0)
    tracker.finish(1)
    assert run.log.call_count == sound_calls + 1
    run.summary.update.assert_not_called()
    run.finish.assert_called_once_with(exit_code=0)
    assert caplog.text.count("going on without it: ConnectionResetError('connection lost')") == 1


def leave(*arguments):
    with pytest.raises(SystemExit) as stopped:
        dashboard.main(list(arguments))
    return stopped.value.code


def test_a_dry_run_writes_what_a_dashboard_would_hold(trained, capsys):
    outputs = trained[0].parents[1]
    assert leave("--entity=me", "--project=mine", "--dry-run", f"--outputs={outputs}") == 0
    contents = json.loads((outputs / "report" / "dashboard.json").read_text())
    assert contents["account"] == {"entity": "me", "project": "mine"}
    panels = json.dumps(contents["sections"])
    for name in ("val/accuracy", "test/accuracy", "method.name", "embeddings/tsne"):
        assert f'"{name}"' in panels
    assert len(contents["report"]["markdown"]) == len(contents["tables"]) > 0
    for table in contents["tables"].values():
        assert all(len(row) == len(table["columns"]) for row in table["data"])


def test_the_tables_go_to_one_offline_run(trained, capsys):
    outputs = trained[0].parents[1]
    for _ in range(2):
        assert leave("--summary", f"--outputs={outputs}") == 0
    assert "wandb sync" in capsys.readouterr().out
    runs = read_runs(outputs / "report")
    assert [run.run["run_id"] for run in runs] == ["summary", "summary"]
    leave("--entity=me", "--dry-run", f"--outputs={outputs}")
    contents = json.loads((outputs / "report" / "dashboard.json").read_text())
    for name, table in contents["tables"].items():
        assert read_table(runs[-1], f"tables/{name}")["data"] == table["data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entity=me"], "wandb login"),
        (["--dry-run"], "--entity is needed"),
        (["--entity=me", "--dry-run", "--outputs=nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_a_dashboard_lacks_is_named(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    assert leave(*arguments) == 2
    assert message in capsys.readouterr().err


def test_neither_off_nor_help_imports_wandb():
    code = (
        "import sys, sslbench.tracking, sslbench.dashboard as d\n"
        "try: d.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'wandb', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
