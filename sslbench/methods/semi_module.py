"""The module that learns from pseudo-labels."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sslbench.interfaces import Batch, LabeledEmbeddings, Step, ViewAccuracy
from sslbench.methods.classifier import Classifier
from sslbench.methods.losses import accuracy, cross_entropy, masked_cross_entropy


class SemiModule(Classifier):
    """Cross-entropy on labelled images plus that of strong views against weak views' labels.

    The batch holds `labeled` and `labels`, and `weak` and `strong` of the same unlabelled images.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        threshold: float,
        unlabeled_weight: float,
        ema: float,
        *,
        soft: bool,
        joint: bool,
    ) -> None:
        super().__init__(encoder, num_classes)
        self.threshold, self.unlabeled_weight = threshold, unlabeled_weight
        self.soft, self.ema, self.joint = soft, ema, joint
        if ema > 0:
            self.average = copy.deepcopy(nn.ModuleDict({"encoder": encoder, "head": self.head}))
            self.average.requires_grad_(False)

    def forward(self, batch: Batch) -> Step:
        labels = batch["labels"]
        logits_labeled, logits_strong, logits_weak = self._all_logits(batch)

        probabilities = logits_weak.detach().float().softmax(1)
        confidence, pseudo_labels = probabilities.max(1)
        confidence_mask = (confidence >= self.threshold).float()
        targets = probabilities if self.soft else pseudo_labels

        loss_labeled = cross_entropy(logits_labeled, labels)
        loss_unlabeled = masked_cross_entropy(logits_strong, targets, confidence_mask)
        loss = loss_labeled + self.unlabeled_weight * loss_unlabeled
        with torch.no_grad():
            share = torch.zeros_like(probabilities).scatter_(1, pseudo_labels[:, None], 1.0).mean(0)
            metrics = {
                "accuracy": accuracy(logits_labeled, labels),
                "loss_labeled": loss_labeled.detach(),
                "loss_unlabeled": loss_unlabeled.detach(),
                "confidence": confidence.mean(),
                "kept": confidence_mask.mean(),
                "kept_at_0.95": (confidence >= 0.95).float().mean(),
                "pseudo_label_max_share": share.max(),
                "pseudo_label_entropy": torch.special.entr(share).sum(),
            }
        return Step(loss, metrics)

    def _all_logits(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of labelled images, strong views and weak views."""
        with_gradient = [batch["labeled"], batch["strong"]]
        sizes = [len(images) for images in (*with_gradient, batch["weak"])]
        if self.joint:
            return self.logits(torch.cat([*with_gradient, batch["weak"]])).split(sizes)
        logits_labeled, logits_strong = self.logits(torch.cat(with_gradient)).split(sizes[:2])
        # After the pass with gradients: autocast keeps the weights it has cast, and those cast
        # under no_grad would carry no gradient into the other pass.
        with torch.no_grad():
            return logits_labeled, logits_strong, self.logits(batch["weak"])

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the averaged weights towards the current ones; buffers are copied."""
        if self.ema == 0:
            return
        current = nn.ModuleDict({"encoder": self.encoder, "head": self.head})
        for average, parameter in zip(self.average.parameters(), current.parameters(), strict=True):
            average.lerp_(parameter, 1 - self.ema)
        for average, buffer in zip(self.average.buffers(), current.buffers(), strict=True):
            average.copy_(buffer)

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.average["encoder"] if self.ema > 0 else self.encoder

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return self.average["head"] if self.ema > 0 else self.head

    def validation_metrics(self, view_accuracy: ViewAccuracy) -> dict[str, float]:
        return {"pseudo_label_accuracy": view_accuracy(self.logits, "view_a")}
