"""An encoder with a linear head on top: what supervised learning trains, and others build on."""

from torch import Tensor, nn

from sslbench.interfaces import Batch, EmbedTrain, MethodModule, Step
from sslbench.methods.losses import accuracy, cross_entropy, mixed_labels


class Classifier(MethodModule):
    """Learns `labels` from `view` by cross-entropy; of images that are mixed, both labels."""

    def __init__(self, encoder: nn.Module, num_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self.head = nn.Linear(encoder.embedding_dim, num_classes)

    def logits(self, images: Tensor) -> Tensor:
        """`(B, 3, side, side)` -> `(B, num_classes)`."""
        return self.head(self.encoder(images))

    def forward(self, batch: Batch) -> Step:
        logits, targets = self.logits(batch["view"]), batch["labels"]
        if "view_shares" in batch:
            targets = mixed_labels(targets, batch["view_shares"], self.num_classes)
        loss = cross_entropy(logits, targets, self.label_smoothing)
        return Step(loss, {"accuracy": accuracy(logits.detach(), targets)})

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        return self.head
