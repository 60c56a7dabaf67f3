"""SimCLR (Chen et al. 2020): tells each image from the others of its batch by its two views."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.parts import Sizes
from sslbench.config.ranges import require
from sslbench.interfaces import Batch, MethodModule, Step
from sslbench.methods.probed_encoder import ProbedEncoder, deviation
from sslbench.methods.self_supervised import SelfSupervised


@dataclass
class SimCLR(SelfSupervised):
    """SimCLR on unlabelled images: the contrastive loss NT-Xent."""

    name: str = "simclr"
    temperature: float = 0.5
    """Cosine similarities are divided by it. Reading: 0.5, of those that Chen et al. 2020 try on
    CIFAR-10 (appendix B.9); on ImageNet they use 0.1."""
    projector: list[int] = field(default_factory=lambda: [512, 128])
    """Chen et al., section 4.2: a hidden layer as wide as most encoders' embeddings, then 128."""

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = 1e-3 <= self.temperature <= 1e3
        require(in_range, "method.temperature", self.temperature, "must be from 0.001 to 1000")

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return SimCLRModule(encoder, self)


class SimCLRModule(ProbedEncoder):
    """NT-Xent between `view_a` and `view_b` of the same images."""

    settings: SimCLR

    def forward(self, batch: Batch) -> Step:
        # One pass for both views, as Chen et al. have it: all 2 B images are told apart.
        z = self.project(torch.cat([batch["view_a"], batch["view_b"]]))
        loss = nt_xent_loss(*z.chunk(2), self.settings.temperature)
        return Step(loss, {"embedding_std": deviation(z)})


def nt_xent_loss(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each projection's other view among all others of both views.

    Chen et al. 2020, eq. 1, averaged over all 2 N projections of `(N, D)` `z_a` and `z_b`:
    -log(exp(sim(i, j) / t) / sum of exp(sim(i, k) / t) over k != i), with the cosine as `sim`.

    Returns:
        A float32 scalar.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        z = F.normalize(torch.cat([z_a, z_b]).float(), dim=1)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        similarity = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
        other_view = torch.arange(len(z), device=z.device).roll(len(z_a))
        return F.cross_entropy(similarity, other_view)
