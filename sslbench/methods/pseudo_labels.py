"""The step of all methods that learn from pseudo-labels, and what it says of them."""

import torch
from torch import Tensor, nn

from sslbench.interfaces import Batch, Step, ViewAccuracy
from sslbench.methods.classifier import Classifier
from sslbench.methods.losses import accuracy, cross_entropy, masked_cross_entropy, one_hot
from sslbench.methods.ramp_up import RampUp
from sslbench.methods.semi_supervised import PseudoLabeling


class PseudoLabelingModule(Classifier):
    """Cross-entropy on labelled images plus that of strong views against weak views' labels.

    The batch holds `labeled` and `labels`, and `weak` and `strong` of the same unlabelled images.
    Methods differ in `weigh`: how much each pseudo-label counts.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, settings: PseudoLabeling) -> None:
        super().__init__(encoder, num_classes, settings.label_smoothing)
        self.unlabeled_weight = settings.unlabeled_weight
        self.ramp_up = RampUp(settings.ramp_up_steps)
        self.joint = settings.weak_pass == "joint"

    def weigh(self, probabilities: Tensor, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return how much each pseudo-label counts, `(B,)` float32 from 0 to 1, and more metrics.

        Called once a step, without gradients: state moves here, in place.

        Args:
            probabilities: `(B, C)` float32, of the weak views.
            indices: `(B,)` int64, which unlabelled images they show.
        """
        raise NotImplementedError

    def unlabeled_loss(self, logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
        """Return the loss of strong views' logits `(B, C)`, a float32 scalar."""
        return masked_cross_entropy(logits, probabilities.argmax(1), weights)

    def more_losses(self, logits: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Return what is added to the unlabelled loss, float32 scalars by what they are called."""
        return {}

    def forward(self, batch: Batch) -> Step:
        labels = batch["labels"]
        logits_labeled, logits_strong, logits_weak = self._all_logits(batch)
        with torch.no_grad():
            probabilities = logits_weak.float().softmax(1)
            weights, more = self.weigh(probabilities, batch["unlabeled_indices"])
        loss_labeled = cross_entropy(logits_labeled, labels, self.label_smoothing)
        loss_unlabeled = self.unlabeled_loss(logits_strong, probabilities, weights)
        more_losses = self.more_losses(logits_strong, weights)
        metrics = {
            "accuracy": accuracy(logits_labeled.detach(), labels),
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": loss_unlabeled.detach(),
            **{f"loss_{name}": loss.detach() for name, loss in more_losses.items()},
            "kept": weights.mean(),
            **balance(probabilities),
            **more,
        }
        weight = self.unlabeled_weight * self.ramp_up()
        loss_unlabeled = loss_unlabeled + sum(more_losses.values())
        return Step(loss_labeled + weight * loss_unlabeled, metrics)

    def after_step(self) -> None:
        self.ramp_up.advance()

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

    def validation_metrics(self, view_accuracy: ViewAccuracy) -> dict[str, float]:
        return {"pseudo_label_accuracy": view_accuracy(self.logits, "view_a")}


@torch.no_grad()
def balance(probabilities: Tensor) -> dict[str, Tensor]:
    """Say how sure the labels are that `(B, C)` probabilities give, and how even their classes."""
    confidence, pseudo_labels = probabilities.max(1)
    share = one_hot(pseudo_labels, probabilities.shape[1]).float().mean(0)
    return {
        "confidence": confidence.mean(),
        "kept_at_0.95": (confidence >= 0.95).float().mean(),
        "pseudo_label_max_share": share.max(),
        "pseudo_label_entropy": torch.special.entr(share).sum(),
    }


def describe_thresholds(thresholds: Tensor) -> dict[str, Tensor]:
    """Return the mean of the classes' thresholds `(C,)`, and how far they lie apart."""
    spread = thresholds.max() - thresholds.min()
    return {"threshold": thresholds.mean(), "threshold_spread": spread}
