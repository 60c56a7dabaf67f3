"""BYOL (Grill et al. 2020): predicts what a slow average of itself makes of the other view."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.durations import slow_average
from sslbench.config.parts import Sizes
from sslbench.config.ranges import all_positive, below_one
from sslbench.interfaces import Batch, MethodModule, Step
from sslbench.methods.average import frozen_copy, move_average
from sslbench.methods.probed_encoder import ProbedEncoder, build_projector, deviation
from sslbench.methods.self_supervised import SelfSupervised


@dataclass
class BYOL(SelfSupervised):
    """Bootstrap your own latent on unlabelled images: no negatives, a predictor and a target."""

    name: str = "byol"
    target_decay: float = 0.996
    """Share that the target keeps of itself in each step: the tau of Grill et al. 2020, eq. 1.
    Reading: constant; theirs rises from 0.996 to 1, by a cosine over all steps."""
    projector: list[int] = field(default_factory=lambda: [4096, 256])
    """Grill et al., section 3.3."""
    predictor: list[int] = field(default_factory=lambda: [4096])
    """Widths of the predictor's hidden layers; it ends as wide as the projections."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("method.target_decay", self.target_decay)
        all_positive("method.predictor", self.predictor, 1_000_000, longest=32)

    def too_slow(self, num_steps: int) -> list[str]:
        target = slow_average("method.target_decay", self.target_decay, num_steps)
        return super().too_slow(num_steps) + target

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return BYOLModule(encoder, self)


class BYOLModule(ProbedEncoder):
    """Predicts the target's projection of `view_b` from `view_a`, and the other way round.

    Their loss is the sum of both, from 0 to 8. The target is part of the module, and so of its
    checkpoints, but has no gradients; its BatchNorm sees batches as the learning networks' does.
    """

    settings: BYOL

    def __init__(self, encoder: nn.Module, settings: BYOL) -> None:
        super().__init__(encoder, settings)
        dim = [encoder.embedding_dim, *settings.projector][-1]
        self.predictor = build_projector(dim, [*settings.predictor, dim])
        self.target = frozen_copy(self._learning)

    @property
    def _learning(self) -> nn.Sequential:
        """What the target is an average of."""
        return nn.Sequential(self.encoder, self.projector)

    def forward(self, batch: Batch) -> Step:
        # One pass per view: BatchNorm must not mix the two views' statistics.
        z_a, z_b = self.project(batch["view_a"]), self.project(batch["view_b"])
        with torch.no_grad():
            target_a, target_b = self.target(batch["view_a"]), self.target(batch["view_b"])
        loss = byol_loss(self.predictor(z_a), target_b) + byol_loss(self.predictor(z_b), target_a)
        return Step(loss, {"embedding_std": deviation(z_a)})

    def after_step(self) -> None:
        """Move the target towards the current weights (eq. 1)."""
        move_average(self.target, self._learning, self.settings.target_decay)


def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared distance between the directions of `(N, D)` predictions and targets.

    Grill et al. 2020, eq. 2: 2 - 2 cos, from 0 to 4; a float32 scalar.
    """
    return (2 - 2 * F.cosine_similarity(predictions.float(), targets.float(), dim=1)).mean()
