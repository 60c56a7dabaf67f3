"""SimCLR (Chen et al. 2020): tells each image from the others of its batch by its two views."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.parts import UNLABELED, Method, Sizes, Stream
from sslbench.config.ranges import positive
from sslbench.config.settings import Ratio
from sslbench.evaluate.probe import fit_linear_probe
from sslbench.interfaces import Batch, LabeledEmbeddings, MethodModule, Step


@dataclass
class SimCLR(Method):
    """SimCLR on unlabelled images, then a linear probe on the frozen encoder."""

    name: str = "simclr"
    epochs: float = 4.0
    batch_size: int = 100
    adam_lr: float = 5e-4
    select: str = "last"
    temperature: float = 0.5
    """Cosine similarities are divided by it."""
    projection_dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("method.temperature", self.temperature)
        positive("method.projection_dim", self.projection_dim)

    def streams(self, ratio: Ratio) -> list[Stream]:
        return [Stream(UNLABELED, {"view_a": "view_a", "view_b": "view_b"}, self.batch_size)]

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return SimCLRModule(encoder, self)


class SimCLRModule(MethodModule):
    """The NT-Xent loss (eq. 1) on projections of both views of a batch."""

    def __init__(self, encoder: nn.Module, config: SimCLR) -> None:
        super().__init__()
        dim = encoder.embedding_dim
        self.encoder = encoder
        self.projector = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.projection_dim)
        )
        self.temperature = config.temperature

    def forward(self, batch: Batch) -> Step:
        images = torch.cat([batch["view_a"], batch["view_b"]])
        z = F.normalize(self.projector(self.encoder(images)).float(), dim=1)
        similarity = z @ z.T / self.temperature
        similarity.fill_diagonal_(float("-inf"))  # an image is no candidate for itself
        other_view = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return Step(F.cross_entropy(similarity, other_view), {"embedding_std": _spread(z)})

    def classifier(self, embed_train: Callable[[], LabeledEmbeddings]) -> nn.Module:
        return fit_linear_probe(*embed_train(), l2=1.0)


def _spread(z: Tensor) -> Tensor:
    return z.detach().std(0).mean()
