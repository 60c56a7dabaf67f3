"""The commands as a user types them, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
FAST = ("data=digits", "tracking=off", "threads=1", "model.channels=8", "method.batch_size=8")


def command(*arguments):
    return [sys.executable, "-m", "sslbench.train", *arguments]


def environment(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "SSLBENCH"))}
    return clean | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def train(tmp_path, *arguments, env=None):
    env = env or environment(tmp_path)
    return subprocess.run(
        command(*arguments), cwd=tmp_path, env=env, capture_output=True, text=True
    )


def write_layout(root, num_train=20, num_unlabeled=40, labels=None):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 96, 96), dtype=np.uint8)
    (folder / "class_names.txt").write_text("\n".join("abcdefghij") + "\n")
    for name, count in (("train", num_train), ("test", 50), ("unlabeled", num_unlabeled)):
        images[:count].tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(count) % 10 + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
    if labels is not None:
        np.asarray(labels, np.uint8).tofile(folder / "train_y.bin")
    return folder


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=foo"], ["model/foo", "wrn45_2"]),
        (["optimizer.lr=abc"], ["optimizer.lr", "abc"]),
        (["optimizer.lr=-1"], ["optimizer.lr=-1", "greater than 0"]),
        (["+optimizer.lrr=1"], ["optimizer.lrr", "did you mean optimizer.lr?"]),
        (["model.name=resnet18"], ["use model=resnet18 or name it convnet"]),
        (["method=semi", "ratio=none"], ["ratio=none", "ratio=1:20"]),
        (["method=semi", "ratio=1:50", "data=digits"], ["ratio=1:50", "3,000", "1,200"]),
        (["data=stl10", "data.download=false"], ["tar -xzf", "data=digits", "data.url"]),
        (["init.from=nowhere.pt", "data=digits"], ["init.from=nowhere.pt"]),
        (["init.from=barlow", "data=digits"], ["init.from=barlow", "add -m"]),
        (["device=cuda:7", "data=digits"], ["device=cuda:7"]),
        (["experiment=table1"], ["-m experiment=table1"]),
        (["hydra.sweeper.dry_run=true", "data=digits"], ["dry_run=true", "add -m"]),
        (["-m", "steps=2,abc", "data=digits"], ["1 of 2", "steps=abc", "Integer"]),
        (["-m", "experiment=table1,table4"], ["cannot be swept", "experiment=paper"]),
        (["data=digits", "outputs=/proc/none"], ["outputs=/proc/none"]),
        (["data.num_labeled=15", "data=digits"], ["data.num_labeled=15"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_usage_is_refused_before_training(arguments, words, tmp_path):
    assert_refused(train(tmp_path, *arguments), *words)
    assert not (tmp_path / "outputs" / "cells").exists()


def test_a_truncated_file_is_named(tmp_path):
    folder = write_layout(tmp_path / "mine")
    with (folder / "train_X.bin").open("r+b") as file:
        file.truncate(12345)
    assert_refused(train(tmp_path, "data=layout", "data.root=mine"), "train_X.bin", "12,345")


def test_labels_out_of_range_are_named(tmp_path):
    write_layout(tmp_path / "mine", labels=[1] * 19 + [11])
    assert_refused(train(tmp_path, "data=layout", "data.root=mine"), "train_y.bin", "11")


def test_a_damaged_stl10_is_never_replaced_by_the_stand_in(tmp_path):
    write_layout(tmp_path / "data")
    result = train(tmp_path, "data=auto", "data.root=data")
    assert_refused(result, "train_X.bin")


def test_a_cell_is_trained_found_done_and_started_from(tmp_path):
    first = train(tmp_path, *FAST, "steps=2")
    assert first.returncode == 0, first.stderr
    assert "stand-in" in first.stdout
    again = train(tmp_path, *FAST, "steps=2")
    assert again.stdout.splitlines()[0] == "done before: found, not trained again"
    assert "other code" not in again.stdout
    [cell] = (tmp_path / "outputs" / "cells").iterdir()
    child = train(tmp_path, *FAST, "method=semi", "steps=2", f"init.from={cell.name}")
    assert child.returncode == 0, child.stderr
    other = ("method=semi", "steps=2", "model=wrn45_2", f"init.from={cell / 'best.pt'}")
    assert_refused(
        train(tmp_path, "data=digits", "tracking=off", *other), "another encoder", "wrn45_2"
    )


def test_without_network_auto_runs_on_the_stand_in_and_says_so(tmp_path):
    result = train(tmp_path, *FAST[1:], "steps=1", "data.url=http://127.0.0.1:9/x.tar.gz")
    assert result.returncode == 0, result.stderr
    assert "NOT STL-10" in result.stdout
    assert "digits" in result.stdout


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    arguments = [*FAST, "steps=400", "log_every=2"]
    process = subprocess.Popen(
        command(*arguments),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("outputs/cells/*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on" in output
    resumed = train(tmp_path, *arguments)
    assert resumed.returncode == 0
    assert "resumed after step" in resumed.stdout
