"""Barlow Twins (Zbontar et al. 2021; paper, table 2)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from sslbench.config.parts import EXECUTION, UNLABELED, Method, Ratio, Sizes, Stream
from sslbench.config.ranges import not_negative, positive, require
from sslbench.evaluate.probe import fit_linear_probe, knn_predict
from sslbench.interfaces import Batch, LabeledEmbeddings, MethodModule, Step
from sslbench.methods.losses import barlow_twins_loss


@dataclass
class BarlowTwins(Method):
    """Barlow Twins on unlabelled images, then a linear probe on the frozen encoder."""

    name: str = "barlow"
    epochs: float = 4.0
    batch_size: int = 100
    """Reading: figure 5 ends at step 4000 = 4 epochs x 100,000 images / 100."""
    adam_lr: float = 5e-4
    select: str = "last"
    snapshot_steps: list[int] = field(
        default_factory=lambda: [50, 500, 1000, 2000, 4000], metadata=EXECUTION
    )
    """Paper, figure 5: steps 50 and 4000."""
    lambd: float = 0.0051
    """Weight of the redundancy-reduction term: the lambda of Zbontar et al. 2021, eq. 1."""
    projector: list[int] = field(default_factory=list)
    """Widths of the projector's layers. Reading: none, as the paper's pipeline puts the loss on the
    embeddings; Zbontar et al. use [8192, 8192, 8192]."""
    probe_l2: float = 1.0
    """L2 penalty of the linear probe on standardised embeddings (1 / C of the logistic loss)."""
    knn_k: int = 200
    """Neighbours of the k-NN reading, at most the number of labelled images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch_size >= 2, "method.batch_size", self.batch_size, "needs at least 2")
        not_negative("method.lambd", self.lambd)
        positive("method.probe_l2", self.probe_l2)
        positive("method.knn_k", self.knn_k)
        for width in self.projector:
            positive("method.projector", width)

    def streams(self, ratio: Ratio) -> list[Stream]:
        return [Stream(UNLABELED, {"view_a": "view_a", "view_b": "view_b"}, self.batch_size)]

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return BarlowTwinsModule(encoder, self)


class BarlowTwinsModule(MethodModule):
    """The redundancy-reduction loss between `view_a` and `view_b` of the same images."""

    def __init__(self, encoder: nn.Module, config: BarlowTwins) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = build_projector(encoder.embedding_dim, config.projector)
        self.config = config

    def forward(self, batch: Batch) -> Step:
        # One pass per view: BatchNorm must not mix the two views' statistics.
        z_a = self.projector(self.encoder(batch["view_a"]))
        z_b = self.projector(self.encoder(batch["view_b"]))
        loss = barlow_twins_loss(z_a, z_b, self.config.lambd)
        with torch.no_grad():
            # Collapsed embeddings show here long before they show in an accuracy.
            deviation = z_a.float().std(0).mean()
        return Step(loss, {"embedding_std": deviation})

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return fit_linear_probe(*embed_train(), self.config.probe_l2)

    def evaluations(
        self, train: LabeledEmbeddings, splits: dict[str, LabeledEmbeddings]
    ) -> dict[str, dict[str, float]]:
        knn = {}
        for name, (embeddings, labels) in splits.items():
            right = knn_predict(*train, embeddings, self.config.knn_k) == labels
            knn[name] = right.float().mean().item()
        return {"knn": knn}


def build_projector(dim: int, widths: list[int]) -> nn.Module:
    """Linear - BN - ReLU for each width, the last one linear alone; no widths: the identity."""
    layers: list[nn.Module] = []
    for before, width in pairwise([dim, *widths]):
        layers += [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(True)]
    return nn.Sequential(*layers[:-2])
