"""What a method's weights are worth: embed the images as they are, classify, count."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbench.augment.views import ViewParams
from sslbench.cell import checkpoint
from sslbench.cell.embeddings import EMBEDDINGS, save_embeddings
from sslbench.config.parts import UNLABELED
from sslbench.config.settings import BATCH
from sslbench.data.device import LabeledImages
from sslbench.data.feed import map_tensors
from sslbench.engine.loop import NotFinite
from sslbench.engine.training import Training
from sslbench.evaluate.bn_statistics import evaluation_statistics, mixed_batches
from sslbench.evaluate.score import Score, score
from sslbench.interfaces import LabeledEmbeddings
from sslbench.randomness import generator

CPU_BATCH, GPU_BATCH = 250, 1000
"""Images: as measured on a CPU; on a GPU few launches a split."""
COLLAPSED = 1e-5
"""Deviation of embeddings, as a share of the largest value, that is no more than rounding."""
ONE_CLASS = 0.98
"""Share of a batch's pseudo-labels, on average: a collapse leaves a few astray."""
FINAL_SPLITS = ("train", "val", "test")
PLAIN, AUGMENTED = "plain", "train_augmented"


@dataclass(frozen=True)
class SplitResult:
    """`(N, D)` embeddings and `(N, C)` logits of a split's images, float32 on the device."""

    embeddings: Tensor
    labels: Tensor
    logits: Tensor
    score: Score


def evaluate(training: Training, splits: tuple[str, ...]) -> dict[str, SplitResult]:
    """Evaluate the method's weights as they are now on `train`, `val` or `test` images.

    Call it within `evaluation_statistics`, as `embed_split`.

    Returns:
        Results by split; as `train_augmented` that of the images that the classifier was fitted on,
        where these were random views.
    """
    method = training.method.eval()  # all of it: averaged weights beside those that train

    @cache
    def embed(name: str, view: str) -> LabeledEmbeddings:
        return embed_split(training, getattr(training.images, name), view)

    fitted_on = PLAIN

    def embed_train(view: str = PLAIN) -> LabeledEmbeddings:
        nonlocal fitted_on
        fitted_on = view
        return embed("train", view)

    classifier = method.classifier(embed_train).eval()
    embedded = {name: embed(name, PLAIN) for name in splits}
    if "train" in splits and fitted_on != PLAIN:
        embedded[AUGMENTED] = embed("train", fitted_on)
    found = {}
    for name, (embeddings, labels) in embedded.items():
        with torch.inference_mode():
            logits = classifier(embeddings).float()
        _require_finite(logits, "logits")
        found[name] = SplitResult(embeddings, labels, logits, score(logits, labels))
    return found


def embed_split(training: Training, split: LabeledImages, view: str = PLAIN) -> LabeledEmbeddings:
    """Return embeddings of a split's images, or of a random view of each, and labels.

    Both are on the device. With `method.mirrored` embeddings are the means of an image's and its
    mirror image's.
    """
    encoder = training.method.evaluated_encoder.eval()
    drawn = {} if view == PLAIN else draw_view(training, split, view, "probe")
    with torch.inference_mode():
        places, parts = [], []
        for rows, images in batches_of(training, split):
            if view == PLAIN:
                views = training.plain_view.apply(images)
            else:
                views = training.views[view].apply(images, rows_of(drawn, rows))
            with training.autocast():
                found = encoder(views).float()
                if training.settings.method.mirrored:
                    found = (found + encoder(views.flip(3)).float()) / 2
            parts.append(found)
            places.append(rows)
        embeddings = torch.cat(parts)[torch.cat(places).argsort()]
    _require_finite(embeddings, "embeddings")
    return embeddings, torch.from_numpy(split.labels).to(training.device)


def batch_size(device: torch.device) -> int:
    """Return how many images are embedded at a time."""
    return CPU_BATCH if device.type == "cpu" else GPU_BATCH


def batches_of(training: Training, split: LabeledImages) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield where in a split images stand, and the images, by batches: int64 and uint8.

    Where a batch's own statistics count, its images are mixed.
    """
    batches = torch.arange(len(split)).split(batch_size(training.device))
    if training.settings.bn_statistics == BATCH:
        batches = mixed_batches(len(split))
    indices = torch.from_numpy(split.indices).to(training.device)
    for rows in batches:
        rows = rows.to(training.device)
        yield rows, split.store.take(indices[rows])


def draw_view(training: Training, split: LabeledImages, view: str, purpose: str) -> ViewParams:
    """Draw a view of all images of a split, on the device; the same for a purpose each time."""
    drawn = training.views[view].sample(
        lambda name: generator(training.settings.seed, f"{purpose}/{view}/{name}"),
        len(split),
        split.store.side,
    )
    return map_tensors(lambda values: values.to(training.device), drawn)


def rows_of(drawn: ViewParams, rows: Tensor) -> ViewParams:
    """Return what was drawn for some of the images."""
    return map_tensors(lambda values: values[rows], drawn)


def evaluate_cell(training: Training, folder: Path) -> dict[str, Any]:
    """Score a trained method on all splits; save the embeddings of `val` and `test`.

    Returns:
        The part of the record's `results` that these weights make.
    """
    encoder = training.method.evaluated_encoder
    before = checkpoint.digest(encoder)
    with evaluation_statistics(training):
        found = evaluate(training, FINAL_SPLITS)
    results: dict[str, Any] = {"train_plain": asdict(found["train"].score)}
    if AUGMENTED in found:
        results[AUGMENTED] = asdict(found.pop(AUGMENTED).score)
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


def find_one_class(training: Training, means: Mapping[str, float]) -> str | None:
    """Say that pseudo-labels are those of one class, by means over training steps, None if not.

    Where averaged weights are evaluated, these may hardly know it yet.
    """
    share = means.get("pseudo_label_max_share", 0.0)
    if share < ONE_CLASS or training.feed.batch_sizes[UNLABELED] == 1:
        return None
    return f"{share:.0%} of the pseudo-labels are of one class"


def save_snapshot(training: Training, folder: Path, step: int) -> Path:
    """Keep the embeddings of the validation images after so many steps, and return their file."""
    training.method.eval()
    with evaluation_statistics(training):
        embeddings, labels = embed_split(training, training.images.val)
    path = folder / f"snapshot-{step:06d}.npz"
    save_embeddings(path, embeddings, labels, training.images.val.indices)
    return path


def _require_finite(values: Tensor, what: str) -> None:
    number = int((~torch.isfinite(values)).any(1).sum())
    if number:
        raise NotFinite(f"the {what} of {number:,} of {len(values):,} images are not finite")
