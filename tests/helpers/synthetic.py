"""Made-up cells on disk: what a sweep leaves behind, written as JSON without training anything."""

import copy
import hashlib
import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.cell.record import DONE, Record
from sslbench.cell.soundness import manifest
from sslbench.files.checksums import read_sealed, write_sealed

CLASSES = {
    "stl10": ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
    "digits": [str(digit) for digit in range(10)],
}
SIZES = {
    "stl10": {"labeled": 5000, "unlabeled": 100_000, "val": 1600, "test": 6400},
    "digits": {"labeled": 60, "unlabeled": 1200, "val": 107, "test": 430},
}
SETTINGS = {
    **{"convnet": {"channels": 32}, "resnet18": {"stem": "imagenet"}},
    **{"wrn45_2": {"widths": [32, 64, 128]}, "wrn37_2": {"widths": [32, 64, 128, 256]}},
    **{"barlow": {"lambd": 0.005, "projector": [2048]}, "semi": {"threshold": 0.0}},
}
"""Of each model and method, besides those that all have."""
STREAMS = {"supervised": ["labeled"], "barlow": ["unlabeled"], "semi": ["labeled", "unlabeled"]}
VIEW = {name: {"type": f"sslbench.augment.{name}", "p": 0.5} for name in ("crop", "flip", "blur")}
ADAM = "sslbench.optimizers.torch_optimizers.Adam"
PLANNED = "planned"
Random = np.random.Generator


def make_settings(
    model: str = "convnet",
    method: str = "supervised",
    ratio: str = "1:20",
    *,
    data: str = "digits",
    seed: int = 0,
    start: str | None = None,
    root: str = "data",
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Settings as a record holds them; those of an unknown model or method are few."""
    settings = {
        "model": {"name": model, "type": f"models.{model}"} | SETTINGS.get(model, {}),
        "method": {"name": method, "type": f"methods.{method}"} | SETTINGS.get(method, {}),
        "ratio": {"name": ratio, "of": "pool"},
        "augmentation": {"name": method, "view_a": VIEW, "view_b": VIEW},
        "optimizer": {
            "name": "adam",
            "type": "sslbench.optimizers.torch_optimizers.Adam",
            "lr": 1e-3,
        },
        "data": {"kind": data, "root": root, "num_labeled": None, "fold": None},
        "tracking": {"name": "off"},
        "init": {"from": start},
    }
    settings["data"]["name"] = Path(root).name if data == "layout" else data
    settings["method"] |= {"epochs": 100.0, "batch_size": 100}
    settings = copy.deepcopy(settings | {"seed": seed, "steps": None})
    for key, value in (changes or {}).items():
        *parents, last = (f"{key}.name" if isinstance(settings.get(key), dict) else key).split(".")
        reduce(getitem, parents, settings)[last] = value
    return settings


def make_cell(
    outputs: Path,
    *choices: str,
    accuracy: float = 0.7,
    status: str = DONE,
    files: bool = False,
    num_images: tuple[int, int] | None = None,
    generator: int = 0,
    streams: list[str] | None = None,
    cell_id: str | None = None,
    **more: Any,
) -> Path:
    """Write a cell's folder by model, method and ratio, with curves and embeddings if `files`.

    Cells of one seed mostly err on the same images. `num_images` are of val and test.
    """
    settings, changes = make_settings(*choices, **more), more.get("changes") or {}
    method, model, data = (settings[part]["name"] for part in ("method", "model", "data"))
    streams = streams or STREAMS.get(method, ["labeled"])
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    cell_id = cell_id or f"{method}-{model}-{data}-s{settings['seed']}-{digest}"
    folder = outputs / "cells" / cell_id
    folder.mkdir(parents=True, exist_ok=True)
    known = {"settings": settings, "changes": changes, "streams": streams}
    write_sealed(folder / "settings.json", known)
    if status == PLANNED:
        return folder
    sizes = SIZES.get(data, SIZES["digits"])
    sizes = sizes | dict(zip(("val", "test"), num_images or (), strict=False))
    steps = settings["steps"] or 400
    record = Record(cell=cell_id, status=status, runtime={"total_seconds": 12.5}, **known)
    record.error = None if status == DONE else {"type": "Stopped", "message": f"it {status}"}
    if status == DONE:
        record.data = {"name": data, "class_names": CLASSES.get(data, CLASSES["digits"])}
        record.data |= {f"num_{split}": size for split, size in sizes.items()}
        train = {"accuracy": accuracy + 0.01, "loss": 2 * (1 - accuracy)}
        scores = {split: _score(accuracy, sizes[split]) for split in ("val", "test")}
        record.results = {"train": train, **scores, "steps": steps}
        if "labeled" not in streams:
            record.results["knn"] = {"val": accuracy - 0.02, "test": accuracy - 0.02}
    if files:
        rng = np.random.default_rng([settings["seed"], generator])
        last = steps if status == DONE else max(steps // 2, 1)
        _write_curves(folder / "metrics.jsonl", method, accuracy, last, rng)
    if files and status == DONE:
        written = {f"embeddings-{split}": (sizes[split], accuracy) for split in ("val", "test")}
        for part in range(1, 5) if "labeled" not in streams else ():
            written[f"snapshot-{steps * part // 4:06d}"] = (sizes["val"], accuracy * part / 4)
        for name, (size, share) in written.items():
            _write_embeddings(folder / f"{name}.npz", size, share, settings["seed"], rng)
    if status == DONE:
        (folder / "best.pt").touch()
        record.files = manifest(folder)
    record.save(folder)
    return folder


def supervised_seeds(outputs: Path, accuracies: dict[str, tuple], **more: Any) -> None:
    """Write supervised cells on STL-10: of each model, one with each accuracy, by seed."""
    for model, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            make_cell(outputs, model, data="stl10", seed=seed, accuracy=accuracy, **more)


def edit_record(folder: Path, path: str, value: Any) -> None:
    """Set a value of a record, such as `results/test/accuracy`; `...` deletes it."""
    record = read_sealed(folder / "record.json")
    *parents, last = path.split("/")
    place = reduce(lambda place, name: place.setdefault(name, {}), parents, record)
    place[last] = value
    if value is ...:
        del place[last]
    write_sealed(folder / "record.json", record)


def _score(accuracy: float, size: int) -> dict[str, Any]:
    correct = round(accuracy * size)
    sizes = [size // 10 + (label < size % 10) for label in range(10)]
    right = np.array([correct // 10 + (label < correct % 10) for label in range(10)])
    confusion = np.diag(right) + np.roll(np.diag(np.array(sizes) - right), 1, axis=1)
    return {"accuracy": correct / size, "loss": 1.0, "confusion": confusion.tolist()}


def _write_curves(path: Path, method: str, accuracy: float, last: int, rng: Random) -> None:
    points = []
    for step in np.unique(np.linspace(1, last, 12).astype(int)).tolist():
        grown = 0.1 + (accuracy - 0.1) * (1 - np.exp(-3 * step / last))
        reached = float(np.clip(grown + rng.normal(0, 0.01), 0, 1))
        where = {"step": step, "epoch": step / 100}
        train = {"loss": 2 * (1 - reached), "lr": 1e-3}
        val = {"accuracy": reached, "loss": 2.2 * (1 - reached)}
        val |= {"seconds": step / 10, "flops": step * 10**9}
        if method == "semi":
            train |= {"confidence": reached, "kept_at_0.95": max(0.0, reached - 0.3)}
            train |= {"pseudo_label_max_share": 1 - 0.8 * reached}
            val["pseudo_label_accuracy"] = reached
        points += [where | {"split": "train"} | train, where | {"split": "val"} | val]
    path.write_text("".join(json.dumps(point) + "\n" for point in points))


def _write_embeddings(path: Path, size: int, accuracy: float, seed: int, rng: Random) -> None:
    labels = np.arange(size) % 10
    centres = np.random.default_rng(7).normal(size=(10, 16))
    embeddings = accuracy * 2 * centres[labels] + rng.normal(size=(size, 16))
    # The same images are hard for all cells of a seed.
    hardness = np.random.default_rng([seed, size]).random(size) + rng.normal(0, 0.05, size)
    predicted = labels.copy()
    predicted[np.argsort(hardness)[round(accuracy * size) :]] += 1
    arrays = {"embeddings": embeddings, "logits": 4 * np.eye(10)[predicted % 10]}
    arrays = {name: values.astype(np.float16) for name, values in arrays.items()}
    np.savez(path, labels=labels, indices=np.arange(size), **arrays)
