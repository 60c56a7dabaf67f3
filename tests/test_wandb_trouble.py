"""A W&B that is broken, slow or gone costs a line, and never a result."""

import os
import sys
import threading
import time
from types import SimpleNamespace
from unittest import mock
from unittest.mock import MagicMock

import pytest

from sslbench import tracking, wandb_run
from sslbench.cell.record import Record
from sslbench.config.settings import Tracking

SECRET = "s3cr3t"
PARTS = ("method", "model", "data")


def started(folder, **options):
    parts = {part: SimpleNamespace(name=part, safe_name=part) for part in PARTS}
    settings = SimpleNamespace(tracking=Tracking(**options), uses_pool=False, seed=0, **parts)
    return tracking.start_tracker(settings, "cell", folder, {})


def use(tracker, folder):
    tracker.log({"step": 1})
    tracker.results(Record("cell", "failed", {}), folder)
    tracker.finish(1)


BROKEN = [
    "raise ImportError('no wandb')",
    "raise RuntimeError('old numpy')",
    "raise SystemExit(3)",
    "1 +",
]


@pytest.mark.parametrize("source", BROKEN)
def test_a_wandb_that_cannot_be_imported_costs_a_line(source, tmp_path, monkeypatch, caplog):
    (tmp_path / "wandb.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    use(started(tmp_path), tmp_path)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert len(caplog.messages) == 1
    assert "cannot be imported" in caplog.text
    with pytest.raises(ValueError, match="cannot be imported"):
        wandb_run.has_key()


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), SystemExit(3), OSError(28, "No space left")]
)
@pytest.mark.parametrize("call", ["log", "finish", "summary.update", "start"])
def test_what_wandb_raises_costs_a_line(call, error, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "end_service", lambda: None)
    run = MagicMock(**{f"{call}.side_effect": error})
    if call == "start":
        monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: ["offline"])
        monkeypatch.setattr("wandb.init", run.start)
        tracker = started(tmp_path)
    else:
        tracker = tracking.WandbTracker(lambda: run)
    use(tracker, tmp_path)
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_a_wandb_that_hangs_is_waited_for_a_bounded_time(call, tmp_path, monkeypatch, caplog):
    hanging, ended = threading.Event(), []
    monkeypatch.setattr(tracking, "START_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "end_service", lambda: ended.append(True))
    run = MagicMock(**{f"{call}.side_effect": lambda *_, **__: hanging.wait(10)})
    began = time.monotonic()
    tracker = tracking.WandbTracker(lambda: run.start() and run if call == "start" else run)
    use(tracker, tmp_path)
    assert time.monotonic() - began < 2
    assert ended == [True]
    assert "no answer" in caplog.text
    hanging.set()


def test_what_waits_for_wandb_is_bounded(tmp_path, monkeypatch, caplog):
    hanging = threading.Event()
    monkeypatch.setattr(tracking, "MAX_WAITING", 5)
    monkeypatch.setattr(tracking, "FINISH_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "end_service", lambda: None)
    tracker = tracking.WandbTracker(
        lambda: MagicMock(**{"log.side_effect": lambda _: hanging.wait(10)})
    )
    for step in range(100):
        tracker.log({"step": step})
    tracker.finish(0)
    assert len(caplog.messages) == 1
    hanging.set()


@pytest.mark.parametrize("home", [None, "/proc/nonexistent"])
def test_a_user_without_a_home_has_wandbs_files_with_the_cell(home, tmp_path, monkeypatch):
    def unknown(number):
        raise KeyError(number)

    variables = {key: value for key, value in os.environ.items() if key != "HOME"}
    variables |= {} if home is None else {"HOME": home}
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: [])
    with mock.patch.dict(os.environ, variables, clear=True):
        wandb_run.start_run(Tracking(), tmp_path, name="a", job_type="b", tags=[])
        assert os.environ["WANDB_CACHE_DIR"] == str(tmp_path / "wandb")


def test_the_command_line_that_wandb_keeps_holds_no_password(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_run, "tracking_modes", lambda mode: ["offline"])
    seen = []
    monkeypatch.setattr("wandb.init", lambda **_: seen.extend(sys.argv) or MagicMock(offline=False))
    typed = ["train", f"data.url=https://me:{SECRET}@host/a", "seed=1"]
    monkeypatch.setattr(sys, "argv", typed)
    started(tmp_path).finish(0)
    assert seen == ["train", "data.url=https://***@host/a", "seed=1"]
    assert sys.argv == typed
