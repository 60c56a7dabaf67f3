"""What a method's weights are worth: embed the images as they are, classify, count."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbench.cell import checkpoint
from sslbench.cell.embeddings import EMBEDDINGS, save_embeddings
from sslbench.data.device import LabeledImages
from sslbench.engine.loop import NotFinite
from sslbench.engine.training import Training
from sslbench.evaluate.score import Score, score
from sslbench.interfaces import LabeledEmbeddings

CPU_BATCH, GPU_BATCH = 250, 1000
"""Images that are embedded at a time: as measured on a CPU; on a GPU few launches a split."""
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
        for _, images in batches_of(training, split):
            views = training.plain_view.apply(images)
            with training.autocast():
                parts.append(encoder(views).float())
        embeddings = torch.cat(parts)
    _require_finite(embeddings, "embeddings")
    return embeddings, torch.from_numpy(split.labels).to(training.device)


def batches_of(training: Training, split: LabeledImages) -> Iterator[tuple[slice, Tensor]]:
    """Yield a split's images by batches, uint8 on the device, and where in it they stand."""
    size = CPU_BATCH if training.device.type == "cpu" else GPU_BATCH
    indices = torch.from_numpy(split.indices).to(training.device)
    for start in range(0, len(split), size):
        rows = slice(start, start + size)
        yield rows, split.store.take(indices[rows])


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
