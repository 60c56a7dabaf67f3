"""The seams between encoder, method, loop and evaluation."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

Batch = dict[str, Tensor]
"""What a method's step sees: views `(B, 3, 96, 96)` float32 by name, and `labels` `(B,)` int64."""

LabeledEmbeddings = tuple[Tensor, Tensor]
"""`(N, D)` float32 embeddings and `(N,)` int64 labels."""


class Encoder(Protocol):
    """`(B, 3, 96, 96)` float -> `(B, embedding_dim)`; an `nn.Module` without a classifier."""

    embedding_dim: int

    def __call__(self, images: Tensor) -> Tensor: ...


class Step(NamedTuple):
    """One training step: a scalar float32 loss with its graph, and detached scalar metrics."""

    loss: Tensor
    metrics: dict[str, Tensor]


class Method(Protocol):
    """An `nn.Module` that owns all it trains; its forward is the loss."""

    encoder: nn.Module

    def __call__(self, batch: Batch) -> Step: ...

    @property
    def evaluated_encoder(self) -> nn.Module:
        """The encoder whose embeddings are evaluated."""
        ...

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        """Return `(N, D)` embeddings -> `(N, num_classes)` logits, both float32.

        `embed_train` embeds the labelled train images without augmentation, for methods that fit
        a classifier only now.
        """
        ...
