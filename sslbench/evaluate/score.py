"""How logits fare against labels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Metrics of one split; `confusion[i][j]` counts the images of class i taken for class j."""

    accuracy: float
    loss: float
    confusion: list[list[int]]


def score(logits: Tensor, labels: Tensor) -> Score:
    """Count how `(N, C)` logits fare against `(N,)` labels."""
    num_classes = logits.shape[1]
    pairs = labels * num_classes + logits.argmax(1)
    confusion = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return Score(
        accuracy=confusion.diagonal().sum().item() / len(labels),
        loss=F.cross_entropy(logits, labels).item(),
        confusion=confusion.tolist(),
    )
