"""The seams between encoder, method, loop and evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

Batch = dict[str, Tensor]
"""What a method's step sees: views `(B, 3, side, side)` float32 by name; `labels` `(B,)` int64 of
the labelled images; `labeled_indices` and `unlabeled_indices` `(B,)` int64, which images they are:
their positions in the data set's files. Where a view's images are mixed, `<view>_shares` `(B,)`
float32 says how much of each is its own; the rest is of the image before it."""

LabeledEmbeddings = tuple[Tensor, Tensor]
"""`(N, D)` float32 embeddings and `(N,)` int64 labels."""

EmbedTrain = Callable[..., LabeledEmbeddings]
"""Embeds the labelled train images without augmentation, or a random view of each, which is named:
`view_a` or `view_b`."""


class Step(NamedTuple):
    """One training step: a scalar float32 loss with its graph, and detached scalar metrics."""

    loss: Tensor
    metrics: dict[str, Tensor]


ViewAccuracy = Callable[[Callable[[Tensor], Tensor], str], float]
"""Returns the share of validation images of which random views are classified right, by what turns
`(n, 3, side, side)` views into `(n, C)` logits, and the view's name, `view_a` or `view_b`."""


class MethodModule(nn.Module):
    """Owns all that learns. Its forward is the loss; the other methods have defaults."""

    encoder: nn.Module

    def forward(self, batch: Batch) -> Step:
        """Return the loss of a batch."""
        raise NotImplementedError

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        """Return what turns embeddings `(N, D)` into logits `(N, num_classes)`, both float32.

        `embed_train` is for methods that fit a classifier only now.
        """
        raise NotImplementedError

    @property
    def evaluated_encoder(self) -> nn.Module:
        """The encoder whose embeddings are evaluated."""
        return self.encoder

    def param_groups(self) -> list[dict[str, Any]]:
        """Return what the optimizer trains, as torch's optimizers take it."""
        return [{"params": [weights for weights in self.parameters() if weights.requires_grad]}]

    def after_step(self) -> None:
        """Do what follows the optimizer's step, such as averaging; must not wait for the device."""

    def validation_metrics(self, view_accuracy: ViewAccuracy) -> dict[str, float]:
        """Return more metrics of each validation, by name."""
        return {}

    def evaluations(
        self, train: LabeledEmbeddings, splits: dict[str, LabeledEmbeddings]
    ) -> dict[str, dict[str, float]]:
        """Return more results of a finished cell, such as `{"knn": {"val": .4, "test": .4}}`."""
        return {}
