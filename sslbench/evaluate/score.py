"""How logits fare against labels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Metrics of one split; accuracies are fractions, None for a class without images.

    `confusion[i][j]` counts the images of class i that were taken for class j.
    """

    accuracy: float
    loss: float
    per_class_accuracy: list[float | None]
    confusion: list[list[int]]


def score(logits: Tensor, labels: Tensor) -> Score:
    """Count how `(N, C)` logits fare against `(N,)` labels."""
    num_classes = logits.shape[1]
    pairs = labels * num_classes + logits.argmax(1)
    confusion = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    correct = confusion.diagonal()
    per_class = zip(correct.tolist(), confusion.sum(1).tolist(), strict=True)
    return Score(
        accuracy=correct.sum().item() / len(labels),
        loss=F.cross_entropy(logits, labels).item(),
        per_class_accuracy=[hits / total if total else None for hits, total in per_class],
        confusion=confusion.tolist(),
    )
