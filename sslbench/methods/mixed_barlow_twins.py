"""Mixed Barlow Twins (Bandara et al. 2023): mixed images must have mixed projections."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sslbench.config.parts import Sizes
from sslbench.config.ranges import not_negative
from sslbench.interfaces import Batch, MethodModule, Step
from sslbench.methods.barlow_twins import BarlowTwins
from sslbench.methods.losses import barlow_twins_loss, standardize
from sslbench.methods.probed_encoder import ProbedEncoder, deviation

GOLDEN_RATIO = 0.6180339887


@dataclass
class MixedBarlowTwins(BarlowTwins):
    """Barlow Twins with a term on mixed images, weighted as Bandara et al. have it for STL-10.

    Views are those of Barlow Twins. Theirs, of 64x64, have no blur and no solarisation; their code
    scales projections to a length of 1 before the loss, which their equations do not.
    """

    name: str = "mixed_barlow"
    lambd: float = 0.0078125
    """As in Barlow Twins; Bandara et al. have 1 / 128 for STL-10."""
    projector: list[int] = field(default_factory=lambda: [512, 1024])
    """Bandara et al.'s for STL-10 and a ResNet-18."""
    mix_weight: float = 2.0
    """Weight of the term on mixed images, times `lambd`: the lambda_reg of Bandara et al."""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("method.mix_weight", self.mix_weight, 1e9)

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return MixedBarlowTwinsModule(encoder, self)


class MixedBarlowTwinsModule(ProbedEncoder):
    """The loss of Barlow Twins, and that of mixing each `view_a` with another image's `view_b`.

    The share of `view_a` is one for a batch, uniform in [0, 1] as their Beta(1, 1). It takes steps
    of the golden ratio, which fill the interval evenly: no draw is needed in a step, and it is the
    same on each device and after a resumption.
    """

    settings: MixedBarlowTwins

    def __init__(self, encoder: nn.Module, settings: MixedBarlowTwins) -> None:
        super().__init__(encoder, settings)
        self.register_buffer("share", torch.rand(()))

    def forward(self, batch: Batch) -> Step:
        view_a, view_b = batch["view_a"], batch["view_b"]
        mixed = self.share * view_a + (1 - self.share) * view_b.roll(1, 0)
        # One pass each: BatchNorm must not mix their statistics.
        z_a, z_b, z_mixed = self.project(view_a), self.project(view_b), self.project(mixed)
        loss = barlow_twins_loss(z_a, z_b, self.settings.lambd)
        mixing = mixing_loss(z_a, z_b, z_mixed, self.share)
        metrics = {"embedding_std": deviation(z_a), "loss_mixing": mixing.detach()}
        loss = loss + self.settings.lambd * self.settings.mix_weight * mixing
        return Step(self.settings.loss_scale * loss, metrics)

    @torch.no_grad()
    def after_step(self) -> None:
        """Move on to the share of the next step."""
        self.share.add_(GOLDEN_RATIO).frac_()


def mixing_loss(z_a: Tensor, z_b: Tensor, z_mixed: Tensor, share: float | Tensor) -> Tensor:
    """How far cross-correlations of mixed images are from those of mixed projections.

    Bandara et al. 2023: |C_ma - (s C_aa + (1 - s) C_pa)|^2 + |C_mb - (s C_ab + (1 - s) C_pb)|^2,
    where C_xy is the cross-correlation of standardised x and y over the batch, s the share and p
    the partners, those that `z_b` has one place before. All correlations are linear in their first
    factor, so both differences are those of m - (s a + (1 - s) p) with a and with b.

    Args:
        z_a: `(N, D)` projections of one view, as `z_b` of the other.
        z_mixed: `(N, D)`, of `s * view_a + (1 - s) * partners`.
        share: A scalar in [0, 1].

    Returns:
        A float32 scalar, 0 where z_mixed is mixed as its images are.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        a, b, mixed = (standardize(z.float()) for z in (z_a, z_b, z_mixed))
        error = mixed - (share * a + (1 - share) * b.roll(1, 0))
        # The squares of D x D correlations add up to products of N x N ones: fewer if N < D.
        return ((error @ error.T) * (a @ a.T + b @ b.T)).sum() / len(a) ** 2
