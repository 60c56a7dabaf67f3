"""The module that learns from pseudo-labels by FixMatch's rule."""

from torch import Tensor, nn

from sslbench.methods.losses import masked_cross_entropy
from sslbench.methods.pseudo_labels import PseudoLabelingModule
from sslbench.methods.semi import Semi


class SemiModule(PseudoLabelingModule):
    """One threshold for all pseudo-labels (Sohn et al. 2020, eq. 4)."""

    def __init__(self, encoder: nn.Module, num_classes: int, settings: Semi) -> None:
        super().__init__(encoder, num_classes, settings)
        self.threshold, self.soft = settings.threshold, settings.pseudo_labels == "soft"

    def weigh(self, probabilities: Tensor, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (probabilities.amax(1) >= self.threshold).float(), {}

    def unlabeled_loss(self, logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
        if self.soft:
            return masked_cross_entropy(logits, probabilities, weights)
        return super().unlabeled_loss(logits, probabilities, weights)
