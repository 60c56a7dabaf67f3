"""What a cell's numbers come from: versions of packages, and a digest of the code."""

import hashlib
import importlib.metadata
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from sslbench.cell.record import Record, flatten
from sslbench.config.as_json import TYPE

PACKAGES = (
    "sslbench",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scikit-learn",
    "hydra-core",
    "wandb",
)
NUMBERS_APART = {
    *("tables", "sweep", "words", "machine"),
    *("train.py", "report.py", "load.py", "repair.py", "exit_codes.py", "probe.py", "cells.py"),
    *(
        "export.py",
        "export_formats.py",
        "tracker.py",
        "tensorboard_run.py",
        "config/study.py",
        "config/read.py",
    ),
    *("tracking.py", "wandb_run.py", "media.py", "dashboard.py", "palette.py"),
    *("paper.py", "scatter.py", "cell/beside.py"),
    *("evaluate/projection.py", "evaluate/separation.py"),
    *("config/arguments.py", "config/environment.py", "config/errors.py", "config/grid.py"),
    *("cell/listing.py", "cell/listing_text.py", "cell/removal.py"),
    *("cell/card.py", "cell/folder.py", "cell/soundness.py", "files/log_file.py"),
    *("engine/progress.py", "engine/room.py", "engine/work.py", "data/download.py"),
}
"""Parts of the package that no cell's numbers come from."""


@cache
def versions() -> dict[str, str]:
    """Return versions of Python, the packages whose numbers matter, and this code's commit."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found | {"commit": _git_commit()}


def code_digest(settings: dict[str, Any]) -> str:
    """Return 12 hex digits that change with the code that a cell's numbers come from.

    It covers the files of the cell's parts that lie outside the package.

    Args:
        settings: As JSON values.
    """
    package = __name__.partition(".")[0]
    flat = flatten(settings).items()
    modules = {path.rpartition(".")[0] for key, path in flat if key.endswith(f".{TYPE}")}
    outside = sorted(module for module in modules if module.partition(".")[0] != package)
    return _code_digest(tuple(outside))


def is_of_other_code(record: Record) -> bool:
    """Whether a cell was trained by other code than this."""
    code = record.runtime.get("versions", {}).get("code")
    return code is not None and code != code_digest(record.settings)


@cache
def _code_digest(modules: tuple[str, ...]) -> str:
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if not {name.parts[0], str(name)} & NUMBERS_APART:
            sha.update(f"{name}\n".encode() + path.read_bytes())
    for module in modules:
        sha.update(f"{module}\n".encode() + _source(module))
    return sha.hexdigest()[:12]


def _source(module: str) -> bytes:
    """Return the source of a module, or of the package that it is in, as its parts import others.

    None where it is not to be found now.
    """
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return b""
    if spec is None:
        return b""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if not files and spec.origin is not None:
        files = [Path(spec.origin)]
    return b"".join(path.read_bytes() for path in files)


def _git_commit() -> str:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return "not a checkout"
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.check_output(command, text=True, stderr=DEVNULL, timeout=10).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
