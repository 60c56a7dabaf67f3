"""FreeMatch (Wang et al. 2023): thresholds that adapt themselves, and fairness among classes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.config.durations import slow_average
from sslbench.config.parts import Sizes
from sslbench.config.ranges import below_one, not_negative
from sslbench.interfaces import MethodModule
from sslbench.methods.losses import one_hot
from sslbench.methods.pseudo_labels import PseudoLabelingModule, describe_thresholds
from sslbench.methods.semi_supervised import PseudoLabeling

SMALLEST = 1e-12


@dataclass
class FreeMatch(PseudoLabeling):
    """FixMatch whose threshold is the mean confidence, lower for classes that are seldom seen."""

    name: str = "freematch"
    decay: float = 0.999
    """Of the averages of confidences, predictions and pseudo-labels."""
    fairness_weight: float = 0.05
    """Of the fairness loss, as a share of `unlabeled_weight`. Theirs: 0.05, or 0.01 where there are
    few labels, as with 40 of STL-10."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("method.decay", self.decay)
        not_negative("method.fairness_weight", self.fairness_weight, 1e9)

    def too_slow(self, num_steps: int) -> list[str]:
        averages = slow_average("method.decay", self.decay, num_steps)
        return super().too_slow(num_steps) + averages

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return FreeMatchModule(encoder, sizes.num_classes, self)


class FreeMatchModule(PseudoLabelingModule):
    """Self-adaptive thresholds (section 4.1, eq. 5 to 8) and self-adaptive fairness (section 4.2).

    Averages over steps begin at 1 / C and move before they are used: tau, of confidences; `p`, of
    probabilities; `h`, of classes' shares of the pseudo-labels.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, settings: FreeMatch) -> None:
        super().__init__(encoder, num_classes, settings)
        self.decay, self.fairness_weight = settings.decay, settings.fairness_weight
        self.register_buffer("tau", torch.tensor(1 / num_classes))
        self.register_buffer("p", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("h", torch.full((num_classes,), 1 / num_classes))

    def weigh(self, probabilities: Tensor, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        confidence, pseudo_labels = probabilities.max(1)
        shares = one_hot(pseudo_labels, self.num_classes).float().mean(0)
        self.tau.lerp_(confidence.mean(), 1 - self.decay)
        self.p.lerp_(probabilities.mean(0), 1 - self.decay)
        self.h.lerp_(shares, 1 - self.decay)
        thresholds = self.p / self.p.max() * self.tau
        kept = confidence >= thresholds[pseudo_labels]
        return kept.float(), describe_thresholds(thresholds)

    def more_losses(self, logits: Tensor, weights: Tensor) -> dict[str, Tensor]:
        return {"fairness": self.fairness_weight * self.fairness(logits, weights)}

    def fairness(self, logits: Tensor, weights: Tensor) -> Tensor:
        """Return sum(target * log(found)), as they minimise it: negative, 0 where none is kept.

        The target is `p` / `h`, what is found the like of the strong views that are kept; both are
        scaled to a sum of 1.
        """
        strong = logits.float().softmax(1)
        predicted = one_hot(strong.argmax(1), self.num_classes)
        kept = weights[:, None]
        found = _scaled_quotient((kept * strong).mean(0), (kept * predicted).mean(0))
        target = _scaled_quotient(self.p, self.h)
        return (target * (found + SMALLEST).log()).sum() * weights.any()


def _scaled_quotient(p: Tensor, h: Tensor) -> Tensor:
    """Return p / h, scaled to a sum of 1; 0 where h is."""
    quotient = torch.where(h > 0, p / h.clamp_min(SMALLEST), 0)
    return quotient / quotient.sum().clamp_min(SMALLEST)
