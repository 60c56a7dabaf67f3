"""From weights to figures: embed, classify, count."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.augment.views import PlainView, RandomView
from sslbench.data.device import ImageStore, LabeledImages
from sslbench.interfaces import LabeledEmbeddings
from sslbench.randomness import generator

EVAL_BATCH = 250


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split; accuracies are fractions, None for a class without images.

    `confusion[i][j]` counts the images of class i that were taken for class j.
    """

    accuracy: float
    loss: float
    per_class_accuracy: list[float | None]
    confusion: list[list[int]]


class Evaluator:
    """Embeds the images of a data set as they are: normalised, not augmented."""

    def __init__(
        self,
        view: PlainView,
        autocast: Callable[[], AbstractContextManager],
        device: torch.device,
    ) -> None:
        self._view = view
        self._autocast = autocast
        self._device = device

    @torch.inference_mode()
    def embed(self, encoder: nn.Module, store: ImageStore, indices: np.ndarray) -> Tensor:
        """Return `(n, D)` float32 embeddings on the device, in the order of `indices`."""
        encoder.eval()
        parts = []
        for chunk in torch.from_numpy(indices).split(EVAL_BATCH):
            images = self._take(store, chunk)
            with self._autocast():
                parts.append(encoder(self._view.apply(images)).float())
        return torch.cat(parts)

    def embed_split(self, encoder: nn.Module, split: LabeledImages) -> LabeledEmbeddings:
        """Return a split's embeddings and labels on the device."""
        embeddings = self.embed(encoder, split.store, split.indices)
        return embeddings, torch.from_numpy(split.labels).to(self._device)

    @torch.inference_mode()
    def pseudo_label_accuracy(
        self,
        classify_images: Callable[[Tensor], Tensor],
        weak: RandomView,
        split: LabeledImages,
        seed: int,
    ) -> float:
        """Return how many of the labels that weak views would get are right, as a fraction.

        `classify_images` turns `(n, 3, 96, 96)` views into `(n, C)` logits.
        """
        params = weak.sample(generator(seed, "pseudo-labels"), len(split))
        labels = torch.from_numpy(split.labels)
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        for chunk in torch.arange(len(split)).split(EVAL_BATCH):
            images = self._take(split.store, torch.from_numpy(split.indices)[chunk])
            drawn = {name: value[chunk].to(self._device) for name, value in params.items()}
            with self._autocast():
                logits = classify_images(weak.apply(images, drawn))
            correct += (logits.argmax(1) == labels[chunk].to(self._device)).sum()
        return correct.item() / len(split)

    def _take(self, store: ImageStore, indices: Tensor) -> Tensor:
        return store.take(indices.to(self._device) if store.resident else indices)


@torch.inference_mode()
def classify(classifier: nn.Module, embeddings: Tensor) -> Tensor:
    """`(N, D)` float32 embeddings -> `(N, C)` float32 logits, in full precision."""
    classifier.eval()
    return classifier(embeddings).float()


def score(logits: Tensor, labels: Tensor) -> Evaluation:
    """Count how `(N, C)` logits fare against `(N,)` labels."""
    num_classes = logits.shape[1]
    pairs = labels * num_classes + logits.argmax(1)
    confusion = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    correct = confusion.diagonal()
    per_class = zip(correct.tolist(), confusion.sum(1).tolist(), strict=True)
    return Evaluation(
        accuracy=correct.sum().item() / len(labels),
        loss=F.cross_entropy(logits, labels).item(),
        per_class_accuracy=[hits / total if total else None for hits, total in per_class],
        confusion=confusion.tolist(),
    )
