"""The module that learns by Barlow Twins."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from sslbench.evaluate.probe import fit_linear_probe, knn_predict
from sslbench.interfaces import Batch, LabeledEmbeddings, MethodModule, Step
from sslbench.methods.losses import barlow_twins_loss


class BarlowTwinsModule(MethodModule):
    """The redundancy-reduction loss between `view_a` and `view_b` of the same images."""

    def __init__(
        self, encoder: nn.Module, projector: list[int], lambd: float, probe_l2: float, knn_k: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = build_projector(encoder.embedding_dim, projector)
        self.lambd, self.probe_l2, self.knn_k = lambd, probe_l2, knn_k

    def forward(self, batch: Batch) -> Step:
        # One pass per view: BatchNorm must not mix the two views' statistics.
        z_a = self.projector(self.encoder(batch["view_a"]))
        z_b = self.projector(self.encoder(batch["view_b"]))
        loss = barlow_twins_loss(z_a, z_b, self.lambd)
        with torch.no_grad():
            # Collapsed embeddings show here long before they show in an accuracy.
            deviation = z_a.float().std(0).mean()
        return Step(loss, {"embedding_std": deviation})

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return fit_linear_probe(*embed_train(), self.probe_l2)

    def evaluations(
        self, train: LabeledEmbeddings, splits: dict[str, LabeledEmbeddings]
    ) -> dict[str, dict[str, float]]:
        knn = {}
        for name, (z, labels) in splits.items():
            knn[name] = (knn_predict(*train, z, self.knn_k) == labels).float().mean().item()
        return {"knn": knn}


def build_projector(dim: int, widths: list[int]) -> nn.Module:
    """Linear - BN - ReLU for each width, the last one linear alone; no widths: the identity."""
    layers: list[nn.Module] = []
    for before, width in pairwise([dim, *widths]):
        layers += [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(True)]
    return nn.Sequential(*layers[:-2])
