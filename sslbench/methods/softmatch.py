"""SoftMatch (Chen et al. 2023): each pseudo-label counts by how sure it is, none is left out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.config.durations import slow_average
from sslbench.config.parts import Sizes
from sslbench.config.ranges import below_one, positive
from sslbench.interfaces import MethodModule
from sslbench.methods.pseudo_labels import PseudoLabelingModule
from sslbench.methods.semi_supervised import PseudoLabeling

SMALLEST = 1e-6


@dataclass
class SoftMatch(PseudoLabeling):
    """FixMatch with weights by a truncated Gaussian of the confidence."""

    name: str = "softmatch"
    decay: float = 0.999
    """Of the averages of confidences and predictions."""
    width: float = 1.0
    """Deviation of the Gaussian, as a multiple of that of confidences: 1 in their formula, 0.5 in
    their code."""
    uniform_alignment: bool = True
    """Whether probabilities are divided by each class's average before they are weighed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("method.decay", self.decay)
        positive("method.width", self.width, 1e9)

    def too_slow(self, num_steps: int) -> list[str]:
        averages = slow_average("method.decay", self.decay, num_steps)
        return super().too_slow(num_steps) + averages

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return SoftMatchModule(encoder, sizes.num_classes, self)


class SoftMatchModule(PseudoLabelingModule):
    """Truncated Gaussian weights (section 3.1) of uniformly aligned probabilities (section 3.2).

    Averages over steps move before they are used: `mean` and `variance` of the aligned confidences
    begin at 1 / C and 1, `p` of probabilities at 1 / C (a reading; in their code at the first
    batch's mean). Pseudo-labels are not aligned.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, settings: SoftMatch) -> None:
        super().__init__(encoder, num_classes, settings)
        self.decay, self.width = settings.decay, settings.width
        self.uniform_alignment = settings.uniform_alignment
        self.register_buffer("mean", torch.tensor(1 / num_classes))
        self.register_buffer("variance", torch.tensor(1.0))
        self.register_buffer("p", torch.full((num_classes,), 1 / num_classes))

    def weigh(self, probabilities: Tensor, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        confidence = self.align(probabilities).amax(1)
        unbiased = min(1, len(confidence) - 1)
        self.mean.lerp_(confidence.mean(), 1 - self.decay)
        self.variance.lerp_(confidence.var(correction=unbiased), 1 - self.decay)
        below = (self.mean - confidence).clamp_min(0)
        deviation = self.width * self.variance.sqrt().clamp_min(SMALLEST)
        weights = (-(below / deviation).square() / 2).exp()
        return weights, {"threshold": self.mean.clone(), "threshold_deviation": deviation}

    def align(self, probabilities: Tensor) -> Tensor:
        """Return `(B, C)` probabilities in which all classes are as frequent, over many steps."""
        if not self.uniform_alignment:
            return probabilities
        self.p.lerp_(probabilities.mean(0), 1 - self.decay)
        aligned = probabilities / self.p.clamp_min(SMALLEST)
        return aligned / aligned.sum(1, keepdim=True)
