"""Made-up cells on disk: what a sweep leaves behind, without training anything."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from sslbench.config.presets import compose_settings

from sslbench.cell.identity import cell_id
from sslbench.cell.record import DONE, FAILED, INTERRUPTED, Record, settings_to_dict
from sslbench.config.settings import BarlowTwins, Settings

CLASSES = {
    "stl10": ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
    "digits": [str(digit) for digit in range(10)],
}
SIZES = {"stl10": (5000, 100_000, 1600, 6400), "digits": (60, 1200, 107, 430)}
"""Labelled, unlabelled, validation and test images."""


@cache
def _composed(overrides: tuple[str, ...]) -> Settings:
    return compose_settings(list(overrides))


def make_settings(
    model: str = "convnet",
    method: str = "supervised",
    ratio: str = "1:20",
    *,
    data: str = "digits",
    seed: int = 0,
    init_from: str | None = None,
    overrides: tuple[str, ...] = (),
) -> Settings:
    """The settings that `model=… method=… ratio=… data=… <overrides>` give."""
    choices = (f"model={model}", f"method={method}", f"ratio={ratio}", f"data={data}")
    return replace(_composed(choices + overrides), seed=seed, init={"from": init_from})


def make_cell(
    outputs: Path,
    settings: Settings,
    *,
    accuracy: float = 0.7,
    status: str = DONE,
    files: bool = True,
    num_images: tuple[int, int] | None = None,
    generator: int = 0,
) -> Path:
    """Write a cell's folder; its test accuracy is `accuracy` as nearly as the images allow.

    Images that a seed's cells get wrong are drawn alike, so that two cells of one seed are paired.

    Args:
        files: Whether to write curves, embeddings and snapshots too.
        num_images: Of `val` and `test`, where fewer than the data set has are to be written.
        generator: Draws other noise for the same settings.
    """
    name = cell_id(settings)
    folder = outputs / "cells" / name
    folder.mkdir(parents=True, exist_ok=True)
    data = settings.data.name
    labeled, unlabeled, val, test = SIZES[data]
    val, test = num_images or (val, test)
    steps = settings.steps or 400
    record = Record(cell=name, status=status, settings=settings_to_dict(settings))
    (folder / "settings.json").write_text(json.dumps(record.settings))
    record.runtime = {"total_seconds": 12.5, "device": "cpu", "processor": "made up"}
    if status == DONE:
        record.data = {
            "name": data,
            "fingerprint": "0" * 16,
            "class_names": CLASSES[data],
            "num_labeled": labeled,
            "num_unlabeled": unlabeled,
            "num_val": val,
            "num_test": test,
            "mean": [0.45, 0.44, 0.41],
            "std": [0.26, 0.26, 0.27],
        }
        record.results = _results(settings, accuracy, val, test, steps)
        record.runtime |= {"train_seconds": 10.0, "precision": "fp32", "images_per_second": 100.0}
    elif status == FAILED:
        record.failures = 1
        record.error = {"type": "NonFiniteLoss", "message": "the loss was not finite at step 7"}
    elif status == INTERRUPTED:
        record.error = {"type": "Interrupted", "message": "signal 15", "signal": 15}
    if files:
        rng = np.random.default_rng([settings.seed, generator])
        _write_curves(folder, settings, accuracy, steps if status == DONE else steps // 2, rng)
        if status == DONE:
            for split, size in (("val", val), ("test", test)):
                share = record.results[split]["accuracy"]
                _write_embeddings(folder / f"embeddings-{split}.npz", size, share, settings, rng)
            for step in settings.method.snapshot_steps if _is_barlow(settings) else ():
                share = accuracy * min(step, steps) / steps
                path = folder / f"snapshot-{min(step, steps):06d}.npz"
                _write_embeddings(path, val, share, settings, rng, logits=False)
    record.save(folder)
    return folder


def _is_barlow(settings: Settings) -> bool:
    return isinstance(settings.method, BarlowTwins)


def _score(accuracy: float, size: int, loss: float) -> dict:
    correct = round(accuracy * size)
    confusion = np.zeros((10, 10), dtype=int)
    for label in range(10):
        of_class = size // 10 + (label < size % 10)
        right = round(correct * of_class / size)
        confusion[label, label] = right
        confusion[label, (label + 1) % 10] = of_class - right
    return {
        "accuracy": correct / size,
        "loss": loss,
        "per_class_accuracy": (confusion.diagonal() / confusion.sum(1)).tolist(),
        "confusion": confusion.tolist(),
    }


def _results(settings: Settings, accuracy: float, val: int, test: int, steps: int) -> dict:
    train = {"accuracy": accuracy + 0.01, "loss": 2 * (1 - accuracy)}
    results = {
        "train": train,
        "train_plain": _score(accuracy, SIZES[settings.data.name][0], 0.9),
        "val": _score(accuracy, val, 1.0),
        "test": _score(accuracy, test, 1.0),
        "weights": "best.pt",
        "weights_sha256": "0" * 64,
        "steps": steps,
        "best_step": steps,
    }
    if _is_barlow(settings):
        results["knn"] = {"val": accuracy - 0.02, "test": accuracy - 0.02}
    return results


def _write_curves(
    folder: Path, settings: Settings, accuracy: float, last: int, rng: np.random.Generator
) -> None:
    points = []
    for step in np.unique(np.linspace(1, max(last, 1), 12).astype(int)).tolist():
        grown = 0.1 + (accuracy - 0.1) * (1 - np.exp(-3 * step / max(last, 1)))
        reached = float(np.clip(grown + rng.normal(0, 0.01), 0, 1))
        where = {"step": step, "epoch": step / 100}
        train = {"loss": 2 * (1 - reached), "lr": settings.optimizer.lr}
        val = {"accuracy": reached, "loss": 2.2 * (1 - reached)}
        if not _is_barlow(settings):
            train["accuracy"] = reached
        if settings.method.name == "semi":
            train |= {
                "loss_labeled": 1.2 * (1 - reached),
                "loss_unlabeled": 0.8 * (1 - reached),
                "confidence": reached,
                "kept": 1.0,
                "kept_at_0.95": max(0.0, reached - 0.3),
                "pseudo_label_max_share": 1 - 0.8 * reached,
                "pseudo_label_entropy": 2.3 * reached,
            }
            val["pseudo_label_accuracy"] = reached
        points += [where | {"split": "train"} | train, where | {"split": "val"} | val]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))


def _write_embeddings(
    path: Path,
    size: int,
    accuracy: float,
    settings: Settings,
    rng: np.random.Generator,
    *,
    logits: bool = True,
) -> None:
    labels = np.arange(size) % 10
    centres = np.random.default_rng(7).normal(size=(10, 16))
    embeddings = accuracy * 2 * centres[labels] + rng.normal(size=(size, 16))
    arrays = {
        "embeddings": embeddings.astype(np.float16),
        "labels": labels,
        "indices": np.arange(size),
    }
    if logits:
        # The same images are hard for all cells of a seed.
        hardness = np.random.default_rng([settings.seed, size]).random(size)
        hardness += rng.normal(0, 0.05, size)
        wrong = np.argsort(hardness)[round(accuracy * size) :]
        predicted = labels.copy()
        predicted[wrong] = (labels[wrong] + 1) % 10
        arrays["logits"] = (4 * np.eye(10)[predicted]).astype(np.float16)
    np.savez(path, **arrays)
