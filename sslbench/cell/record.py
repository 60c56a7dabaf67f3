"""One JSON file per cell: what the report reads. A failure is a record too."""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sslbench.atomic import write_json
from sslbench.config import settings as schema
from sslbench.config.settings import Settings

RECORD, SETTINGS = "record.json", "settings.json"
DONE, FAILED, INTERRUPTED, BLOCKED = "done", "failed", "interrupted", "blocked"
STATUSES = (DONE, FAILED, INTERRUPTED, BLOCKED)
PACKAGES = ("sslbench", "torch", "torchvision", "numpy", "scikit-learn", "hydra-core", "wandb")

NUMBERS_APART = (
    "tables",
    "sweep",
    "report.py",
    "dashboard.py",
    "cell/card.py",
    "engine/progress.py",
)
"""Parts of the package that no cell's numbers come from."""

RULES = {
    "train.loss": "mean of the training loss over the steps since the last but one validation",
    "train.accuracy": "the same of the accuracy on augmented labelled images; for Barlow Twins "
    "that of the linear probe on the train images as they are",
    "train.num_images": "labelled images in train.accuracy, each time that one was seen",
    "train_plain": "the evaluated weights on the train images as they are",
    "val": "the evaluated weights on the validation images",
    "test": "the evaluated weights on the test images, opened once, after the last step",
    "weights": "best: the epoch with the highest validation accuracy, the first of equals; "
    "last: the last step",
    "knn": "accuracy of weighted k-NN on the frozen embeddings",
}


@dataclass
class Record:
    """Everything about one cell. `results` is a function of the settings; `runtime` is not."""

    cell: str
    status: str
    settings: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    failures: int = 0
    """How often the cell has failed so far."""
    rules: dict[str, str] = field(default_factory=lambda: dict(RULES))
    """How each figure in `results` was made."""

    def save(self, folder: Path) -> None:
        write_json(folder / RECORD, dataclasses.asdict(self))


def load_record(folder: Path) -> Record | None:
    """Return a cell's record, or None if it has none.

    Raises:
        ValueError: If the file is not a record.
    """
    path = folder / RECORD
    try:
        record = Record(**json.loads(path.read_text()))
        _require_types(record)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError) as error:  # of JSON and UTF-8 too
        raise ValueError(f"{path}: not a record ({error}); delete it to run the cell") from error
    return record


def _require_types(record: Record) -> None:
    if record.status not in STATUSES:
        raise ValueError(f"status is {record.status!r}, not one of {', '.join(STATUSES)}")
    for name in ("settings", "data", "results", "runtime", "error"):
        value = getattr(record, name)
        if not isinstance(value, dict) and (name, value) != ("error", None):
            raise ValueError(f"{name} is {value!r}, not an object")


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON values; `type` names the class of the model's and method's part."""
    contents = dataclasses.asdict(settings)
    for group in ("model", "method"):
        contents[group]["type"] = type(getattr(settings, group)).__name__
    return contents


def model_settings(contents: dict[str, Any]) -> schema.Model:
    """Return the model's settings out of what `settings_to_dict` made."""
    arguments = dict(contents["model"])
    return getattr(schema, arguments.pop("type"))(**arguments)


@cache
def versions() -> dict[str, str]:
    """Versions of Python, the packages whose numbers matter, this code's commit and digest."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"commit": _git_commit(), "code": code_digest()}


@cache
def code_digest() -> str:
    """Return 12 hex digits that change with the code that a cell's numbers come from."""
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for path in sorted(path for kind in ("*.py", "*.c") for path in package.rglob(kind)):
        name = path.relative_to(package)
        if not {name.parts[0], str(name)} & set(NUMBERS_APART):
            sha.update(f"{name}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:12]


def is_of_other_code(record: Record) -> bool:
    """Whether a cell was trained by other code than this."""
    return record.runtime.get("versions", {}).get("code") not in (None, code_digest())


def _git_commit() -> str:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return "not a checkout"
    try:
        described = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
