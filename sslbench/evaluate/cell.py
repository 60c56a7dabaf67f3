"""What a method's weights are worth: embed the images as they are, classify, count."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbench.cell import checkpoint
from sslbench.cell.embeddings import EMBEDDINGS, save_embeddings
from sslbench.data.device import ImageStore, LabeledImages
from sslbench.engine.loop import NotFinite
from sslbench.engine.training import Training
from sslbench.evaluate.score import Score, score
from sslbench.interfaces import LabeledEmbeddings
from sslbench.randomness import generator

log = logging.getLogger(__name__)
BATCH = 250
COLLAPSED = 1e-5
"""Deviation of embeddings, as a share of the largest value, that is no more than rounding."""
FINAL_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitResult:
    """`(N, D)` embeddings and `(N, C)` logits of a split's images, float32 on the device."""

    embeddings: Tensor
    labels: Tensor
    logits: Tensor
    score: Score


def evaluate(training: Training, splits: tuple[str, ...]) -> dict[str, SplitResult]:
    """Evaluate the method's weights as they are now on `train`, `val` or `test` images."""
    method = training.method.eval()  # all of it: averaged weights beside those that train
    embedded: dict[str, LabeledEmbeddings] = {}

    def embed(name: str) -> LabeledEmbeddings:
        if name not in embedded:
            embedded[name] = embed_split(training, getattr(training.images, name))
        return embedded[name]

    classifier = method.classifier(lambda: embed("train")).eval()
    found = {}
    for name in splits:
        embeddings, labels = embed(name)
        with torch.inference_mode():
            logits = classifier(embeddings).float()
        _require_finite(logits, "logits")
        found[name] = SplitResult(embeddings, labels, logits, score(logits, labels))
    return found


def embed_split(training: Training, split: LabeledImages) -> LabeledEmbeddings:
    """Return a split's embeddings, not augmented, and labels on the device."""
    encoder = training.method.evaluated_encoder.eval()
    with torch.inference_mode():
        parts = []
        for images in _batches(training, split.store, split.indices):
            views = training.plain_view.apply(images)
            with training.autocast():
                parts.append(encoder(views).float())
        embeddings = torch.cat(parts)
    _require_finite(embeddings, "embeddings")
    return embeddings, torch.from_numpy(split.labels).to(training.device)


def validate(training: Training, said: set[str]) -> dict[str, float]:
    """Return validation metrics: `accuracy`, `loss` and what the method adds.

    Args:
        said: What need not be said again.
    """
    result = evaluate(training, ("val",))["val"]
    collapse = find_collapse(result, training.dataset.files.class_names)
    if collapse is not None and not said:
        said.add(collapse)
        log.warning("collapsed for now: %s", collapse)
    found = result.score
    more = training.method.validation_metrics(partial(view_accuracy, training))
    return {"accuracy": found.accuracy, "loss": found.loss, **more}


@torch.inference_mode()
def view_accuracy(training: Training, logits: Callable[[Tensor], Tensor], view: str) -> float:
    """Return the share of validation images that `logits` of a random view get right.

    The same views are drawn each time.
    """
    split, random_view = training.images.val, training.views[view]
    seed = training.settings.seed
    correct = torch.zeros((), dtype=torch.int64, device=training.device)
    labels = torch.from_numpy(split.labels).to(training.device).split(BATCH)
    batches = _batches(training, split.store, split.indices)
    for number, (images, of_images) in enumerate(zip(batches, labels, strict=True)):
        drawn = random_view.sample(
            lambda name, number=number: generator(seed, f"validation/{view}/{name}", number),
            len(images),
            split.store.side,
        )
        views = random_view.apply(images, training.feed.to_device(drawn))
        with training.autocast():
            correct += (logits(views).argmax(1) == of_images).sum()
    return correct.item() / len(split)


def evaluate_cell(training: Training, folder: Path) -> dict[str, Any]:
    """Score a trained method on all splits; save the embeddings of `val` and `test`.

    Returns:
        The part of the record's `results` that these weights make.
    """
    encoder = training.method.evaluated_encoder
    before = checkpoint.digest(encoder)
    found = evaluate(training, FINAL_SPLITS)
    results: dict[str, Any] = {"train_plain": asdict(found["train"].score)}
    for name in ("val", "test"):
        results[name] = asdict(found[name].score)
        save_embeddings(
            folder / EMBEDDINGS.format(name),
            found[name].embeddings,
            found[name].labels,
            getattr(training.images, name).indices,
            logits=found[name].logits.cpu().numpy(),
        )
    embedded = {name: (result.embeddings, result.labels) for name, result in found.items()}
    train = embedded.pop("train")
    results["collapse"] = find_collapse(found["test"], training.dataset.files.class_names)
    results |= training.method.evaluations(train, embedded)
    assert checkpoint.digest(encoder) == before, "evaluation changed the encoder"
    return results | {"weights_sha256": checkpoint.digest(training.method)}


def find_collapse(result: SplitResult, class_names: Sequence[str]) -> str | None:
    """Say how an encoder has collapsed, None if it has not: its accuracy is then that of chance."""
    guesses = result.logits.argmax(1)
    if (guesses == guesses[0]).all():
        return f"all {len(guesses):,} images are taken for {class_names[guesses[0]]}"
    scale = result.embeddings.abs().max()
    if (result.embeddings.std(0) <= COLLAPSED * scale).all():
        return f"all {len(guesses):,} embeddings are alike"
    return None


def save_snapshot(training: Training, folder: Path, step: int) -> Path:
    """Keep the embeddings of the validation images after so many steps, and return their file."""
    training.method.eval()
    embeddings, labels = embed_split(training, training.images.val)
    path = folder / f"snapshot-{step:06d}.npz"
    save_embeddings(path, embeddings, labels, training.images.val.indices)
    return path


def _require_finite(values: Tensor, what: str) -> None:
    number = int((~torch.isfinite(values)).any(1).sum())
    if number:
        raise NotFinite(f"the {what} of {number:,} of {len(values):,} images are not finite")


def _batches(training: Training, store: ImageStore, indices: np.ndarray) -> Iterator[Tensor]:
    for chunk in torch.from_numpy(indices).split(BATCH):
        yield store.take(chunk.to(training.device))
