"""Supervised learning (paper, table 1)."""

from collections.abc import Callable

from torch import Tensor, nn

from sslbench.interfaces import Batch, LabeledEmbeddings, Step
from sslbench.methods.losses import cross_entropy


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of `(B,)` labels that are the argmax of `(B, C)` logits, a float32 scalar."""
    return (logits.argmax(1) == labels).float().mean()


class Supervised(nn.Module):
    """Cross-entropy of a linear head on the encoder, on `view` and `labels`."""

    def __init__(self, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.embedding_dim, num_classes)

    def forward(self, batch: Batch) -> Step:
        logits = self.head(self.encoder(batch["view"]))
        loss = cross_entropy(logits, batch["labels"])
        return Step(loss, {"accuracy": accuracy(logits.detach(), batch["labels"])})

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.encoder

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return self.head
