"""Pseudo-labelling by consistency: FixMatch (Sohn et al. 2020; paper, tables 3 and 4)."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sslbench.config import settings
from sslbench.interfaces import Batch, LabeledEmbeddings, Step
from sslbench.methods.losses import cross_entropy, masked_cross_entropy
from sslbench.methods.supervised import accuracy

FIXMATCH_THRESHOLD = 0.95


class Semi(nn.Module):
    """Cross-entropy on labelled images plus that of strong views against weak views' labels.

    The batch holds `labeled` and `labels`, and `weak` and `strong` of the same unlabelled images.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, config: settings.Semi) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.embedding_dim, num_classes)
        self.config = config
        if config.ema > 0:
            self.average = copy.deepcopy(nn.ModuleDict({"encoder": encoder, "head": self.head}))
            self.average.requires_grad_(False)

    def logits(self, images: Tensor) -> Tensor:
        """`(B, 3, 96, 96)` -> `(B, num_classes)`."""
        return self.head(self.encoder(images))

    def forward(self, batch: Batch) -> Step:
        config = self.config
        num_labeled = len(batch["labels"])
        if config.weak_pass == "separate":
            both = self.logits(torch.cat([batch["labeled"], batch["strong"]]))
            # After the pass with gradients: autocast keeps the weights it has cast, and those cast
            # under no_grad would carry no gradient into the other pass.
            with torch.no_grad():
                logits_weak = self.logits(batch["weak"])
        else:
            images = torch.cat([batch["labeled"], batch["strong"], batch["weak"]])
            logits = self.logits(images)
            both, logits_weak = logits.split([len(logits) - len(batch["weak"]), len(batch["weak"])])
        logits_labeled, logits_strong = both.split([num_labeled, len(both) - num_labeled])

        probabilities = logits_weak.detach().float().softmax(1)
        confidence, pseudo_labels = probabilities.max(1)
        confidence_mask = (confidence >= config.threshold).float()
        targets = pseudo_labels if config.pseudo_labels == "hard" else probabilities

        loss_labeled = cross_entropy(logits_labeled, batch["labels"])
        loss_unlabeled = masked_cross_entropy(logits_strong, targets, confidence_mask)
        loss = loss_labeled + config.unlabeled_weight * loss_unlabeled
        with torch.no_grad():
            share = torch.zeros_like(probabilities).scatter_(1, pseudo_labels[:, None], 1.0).mean(0)
            metrics = {
                "accuracy": accuracy(logits_labeled, batch["labels"]),
                "loss_labeled": loss_labeled.detach(),
                "loss_unlabeled": loss_unlabeled.detach(),
                "confidence": confidence.mean(),
                "kept": confidence_mask.mean(),
                "kept_at_0.95": (confidence >= FIXMATCH_THRESHOLD).float().mean(),
                "pseudo_label_max_share": share.max(),
                "pseudo_label_entropy": torch.special.entr(share).sum(),
            }
        return Step(loss, metrics)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights towards the current ones; buffers are copied."""
        current = nn.ModuleDict({"encoder": self.encoder, "head": self.head})
        for average, parameter in zip(self.average.parameters(), current.parameters(), strict=True):
            average.lerp_(parameter, 1 - self.config.ema)
        for average, buffer in zip(self.average.buffers(), current.buffers(), strict=True):
            average.copy_(buffer)

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.average["encoder"] if self.config.ema > 0 else self.encoder

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return self.average["head"] if self.config.ema > 0 else self.head
