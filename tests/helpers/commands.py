"""Commands: as a user types them, in a process of their own, or in this one, which is quicker."""

import atexit
import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from sslbench.cell.folder import CellFolder
from sslbench.cell.record import Record, load_record
from sslbench.data.digits import open_digits
from sslbench.train import main

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("--config-dir", str(ROOT / "tests" / "helpers" / "conf"))
"""Selects the parts from outside that tests use."""
TINY = ("data=digits", "tracking=off", "threads=1", "log_every=2")
TINY += ("model.channels=8", "method.batch_size=8", "precision=fp32")
PAPER = ("-m", "experiment=paper", *TINY, "model=convnet", "model.channels=4,6,8", "steps=200")
"""All 18 cells of the paper's, by encoders of three sizes on the stand-in."""
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
CURVES = "outputs/cells/*/metrics.jsonl"
PATIENCE_SECONDS = 300
"""With a command, on a machine where others are busy too."""


@dataclass
class Result:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def environment(home: Path, *python_path: Path) -> dict[str, str]:
    """Return this process's environment without what a developer has set."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "SSLBENCH"))}
    path = os.pathsep.join(map(str, (*python_path, ROOT)))
    return clean | {"HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@cache
def drawn_digits() -> Path:
    """Draw the stand-in once for all tests of this process, and return the folder it is in."""
    outputs = Path(tempfile.mkdtemp(prefix="sslbench-digits-"))
    atexit.register(shutil.rmtree, outputs, ignore_errors=True)
    open_digits(outputs)
    return outputs / "cache"


def share_digits(outputs: Path) -> None:
    """Spare cells below `outputs` the drawing of the stand-in, which takes a second."""
    if not (outputs / "cache").exists():
        outputs.mkdir(parents=True, exist_ok=True)
        (outputs / "cache").symlink_to(drawn_digits())


def train_here(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Result:
    """Run `python -m sslbench.train` in this process; what a sweep's cells print is not seen."""
    share_digits(folder / "outputs")
    out, err = io.StringIO(), io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    variables = environment(folder) | {"HYDRA_FULL_ERROR": "0"} | (env or {})
    with (
        contextlib.chdir(cwd or folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["sslbench.train", *arguments]),
        mock.patch.dict(os.environ, variables),
    ):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
    return Result(code, out.getvalue(), err.getvalue())


def start(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen:
    """Start `python -m sslbench.train` in a session of its own."""
    share_digits(folder / "outputs")
    return subprocess.Popen(
        [sys.executable, "-m", "sslbench.train", *arguments],
        cwd=cwd or folder,
        env=env or environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(
    folder: Path, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Result:
    """Run `python -m sslbench.train` in a process of its own; `stdout` holds both streams."""
    process = start(folder, *arguments, env=env, cwd=cwd)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return Result(process.returncode, output, "")


def wait_for(what: Path, pattern: str, number: int = 1) -> None:
    """Wait until so many files match."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(what.glob(pattern))) < number:
        assert time.monotonic() < deadline, f"no {pattern} in {what}"
        time.sleep(0.02)


def records(folder: Path) -> dict[str, Record | None]:
    """Return the records of the cells below a folder, by id."""
    return {path.name: load_record(path) for path in sorted((folder / "outputs/cells").glob("*/"))}


def results(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return all that was found of the cells below a folder, digests of weights too, by id."""
    return {name: (it.status, it.results) for name, it in records(folder).items()}


def cells_in_training(folder: Path) -> list[CellFolder]:
    """Return the cells of `PAPER` that are saved, and not half through."""
    cells = (CellFolder(folder / "outputs", it.name) for it in folder.glob("outputs/cells/*"))
    return [
        cell
        for cell in cells
        if (cell.path / "last.pt").exists()
        and (cell.path / "metrics.jsonl").read_text().count("\n") < 60
        and cell.is_held()
    ]


def only_cell(folder: Path) -> CellFolder:
    """Return the folder of the one cell there is."""
    (path,) = (folder / "outputs" / "cells").iterdir()
    return CellFolder(folder / "outputs", path.name)
