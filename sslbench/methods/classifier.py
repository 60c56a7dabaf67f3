"""An encoder with a linear head on top: what supervised learning trains, and others build on."""

from torch import Tensor, nn

from sslbench.interfaces import Batch, EmbedTrain, MethodModule, Step
from sslbench.methods.losses import accuracy, cross_entropy


class Classifier(MethodModule):
    """Learns `labels` from `view` by cross-entropy."""

    def __init__(self, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.embedding_dim, num_classes)

    def logits(self, images: Tensor) -> Tensor:
        """`(B, 3, side, side)` -> `(B, num_classes)`."""
        return self.head(self.encoder(images))

    def forward(self, batch: Batch) -> Step:
        logits = self.logits(batch["view"])
        loss = cross_entropy(logits, batch["labels"])
        return Step(loss, {"accuracy": accuracy(logits.detach(), batch["labels"])})

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        return self.head
