"""An encoder that learns without labels, and what it is worth: a linear probe and k-NN."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from sslbench.evaluate.probe import fit_linear_probe, knn_predict
from sslbench.interfaces import EmbedTrain, LabeledEmbeddings, MethodModule
from sslbench.methods.self_supervised import SelfSupervised


class ProbedEncoder(MethodModule):
    """An encoder with a projector on top; a self-supervised method adds `forward`, its loss."""

    def __init__(self, encoder: nn.Module, settings: SelfSupervised) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = build_projector(encoder.embedding_dim, settings.projector)
        self.settings = settings

    def project(self, images: Tensor) -> Tensor:
        """`(B, 3, side, side)` -> `(B, D)` projections."""
        return self.projector(self.encoder(images))

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        return fit_linear_probe(*embed_train(self.settings.probe_view), self.settings.probe_l2)

    def evaluations(
        self, train: LabeledEmbeddings, splits: dict[str, LabeledEmbeddings]
    ) -> dict[str, dict[str, float]]:
        knn = {}
        for name, (z, labels) in splits.items():
            guesses = knn_predict(*train, z, self.settings.knn_k)
            knn[name] = (guesses == labels).float().mean().item()
        return {"knn": knn}


def build_projector(dim: int, widths: list[int]) -> nn.Module:
    """Linear - BN - ReLU for each width, the last one linear alone; no widths: the identity."""
    layers: list[nn.Module] = []
    for before, width in pairwise([dim, *widths]):
        layers += [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(True)]
    return nn.Sequential(*layers[:-2])


@torch.no_grad()
def deviation(z: Tensor) -> Tensor:
    """Mean standard deviation of the features of `(B, D)` projections, a float32 scalar.

    Collapsed embeddings show here long before they show in an accuracy.
    """
    return z.float().std(0).mean()
