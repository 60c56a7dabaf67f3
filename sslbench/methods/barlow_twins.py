"""Barlow Twins (Zbontar et al. 2021; paper, table 2)."""

from collections.abc import Callable

import torch
from torch import nn

from sslbench.config import settings
from sslbench.evaluate.probe import fit_linear_probe
from sslbench.interfaces import Batch, LabeledEmbeddings, Step
from sslbench.methods.losses import barlow_twins_loss


def build_projector(dim: int, widths: list[int]) -> nn.Module:
    """Linear - BN - ReLU for each width, the last one linear alone; no widths: the identity."""
    layers: list[nn.Module] = []
    for width in widths[:-1]:
        layers += [nn.Linear(dim, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        dim = width
    if widths:
        layers.append(nn.Linear(dim, widths[-1], bias=False))
    return nn.Sequential(*layers)


class BarlowTwins(nn.Module):
    """The redundancy-reduction loss between `view_a` and `view_b` of the same images."""

    def __init__(self, encoder: nn.Module, config: settings.BarlowTwins) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = build_projector(encoder.embedding_dim, config.projector)
        self.lambd = config.lambd
        self.probe_l2 = config.probe_l2

    def forward(self, batch: Batch) -> Step:
        # One pass per view: BatchNorm must not mix the two views' statistics.
        z_a = self.projector(self.encoder(batch["view_a"]))
        z_b = self.projector(self.encoder(batch["view_b"]))
        loss = barlow_twins_loss(z_a, z_b, self.lambd)
        with torch.no_grad():
            # Collapsed embeddings show here long before they show in an accuracy.
            deviation = z_a.float().std(0).mean()
        return Step(loss, {"embedding_std": deviation})

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.encoder

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return fit_linear_probe(*embed_train(), self.probe_l2)
