"""VICReg (Bardes et al. 2022): alike views, features that vary and do not vary together."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.parts import Sizes
from sslbench.config.ranges import not_negative
from sslbench.interfaces import Batch, MethodModule, Step
from sslbench.methods.probed_encoder import ProbedEncoder, deviation
from sslbench.methods.self_supervised import SelfSupervised

EPS = 1e-4
"""Added to variances before the root (Bardes et al. 2022, section 4.2)."""


@dataclass
class VICReg(SelfSupervised):
    """Variance, invariance and covariance regularisation on unlabelled images."""

    name: str = "vicreg"
    invariance: float = 25.0
    """Weight of the distance between two views: the lambda of Bardes et al. 2022, eq. 6."""
    variance: float = 25.0
    """Weight of deviations below 1, summed over the views: their mu. Their code has half the sum,
    as with 12.5 here."""
    covariance: float = 1.0
    """Weight of squared covariances: their nu."""
    projector: list[int] = field(default_factory=lambda: [2048, 2048, 2048])
    """Widths of the expander's layers. Reading: a quarter of Bardes et al.'s [8192, 8192, 8192],
    which would have 200 times the ConvNet's weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("invariance", "variance", "covariance"):
            not_negative(f"method.{name}", getattr(self, name), 1e9)

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return VICRegModule(encoder, self)


class VICRegModule(ProbedEncoder):
    """The three terms, weighted, on `view_a` and `view_b` of the same images."""

    settings: VICReg

    def forward(self, batch: Batch) -> Step:
        # One pass per view, each with its own statistics in BatchNorm, as Bardes et al. have it.
        z_a, z_b = self.project(batch["view_a"]), self.project(batch["view_b"])
        invariance, variance, covariance = vicreg_terms(z_a, z_b)
        weights = self.settings
        loss = weights.invariance * invariance + weights.variance * variance
        loss = loss + weights.covariance * covariance
        terms = {"invariance": invariance, "variance": variance, "covariance": covariance}
        metrics = {f"loss_{name}": term.detach() for name, term in terms.items()}
        return Step(loss, {"embedding_std": deviation(z_a), **metrics})


def vicreg_terms(z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return invariance, variance and covariance terms of `(N, D)` projections of two views.

    Bardes et al. 2022, eq. 1 to 5. Their eq. 5 sums the squared distances over features; their
    algorithm 1 and their code take the mean, as here: the weights that they print suit that. The
    variance term is that of eq. 6 and algorithm 1; their code halves it.

    Returns:
        Three float32 scalars; variance and covariance terms are summed over the views.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        z_a, z_b = z_a.float(), z_b.float()
        (variance_a, covariance_a), (variance_b, covariance_b) = map(_spread_terms, (z_a, z_b))
        return F.mse_loss(z_a, z_b), variance_a + variance_b, covariance_a + covariance_b


def _spread_terms(z: Tensor) -> tuple[Tensor, Tensor]:
    """One view's hinge on deviations below 1, and its squared covariances over D."""
    num, dim = z.shape
    centered = z - z.mean(0)
    variances = centered.square().sum(0) / (num - 1)
    hinge = F.relu(1 - (variances + EPS).sqrt()).mean()
    # All squares of the D x D covariances add up to those of N x N products: fewer if N < D.
    all_squares = (centered @ centered.T).square().sum() / (num - 1) ** 2
    return hinge, (all_squares - variances.square().sum()) / dim
