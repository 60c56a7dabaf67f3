"""SimSiam (Chen and He 2021): predicts each view's projection from that of the other view."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.parts import Sizes
from sslbench.config.ranges import positive
from sslbench.interfaces import Batch, MethodModule, Step
from sslbench.methods.probed_encoder import ProbedEncoder, build_projector, deviation
from sslbench.methods.self_supervised import SelfSupervised


@dataclass
class SimSiam(SelfSupervised):
    """SimSiam on unlabelled images, then a linear probe on the frozen encoder."""

    name: str = "simsiam"
    projector: list[int] = field(default_factory=lambda: [512, 512])
    predictor_dim: int = 128
    """Width of the predictor's hidden layer: a quarter of the projections'."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("method.predictor_dim", self.predictor_dim, 1_000_000)

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return SimSiamModule(encoder, self)


class SimSiamModule(ProbedEncoder):
    """The cosine of a prediction and the other view's projection, which gets no gradient."""

    def __init__(self, encoder: nn.Module, settings: SimSiam) -> None:
        super().__init__(encoder, settings)
        dim = [encoder.embedding_dim, *settings.projector][-1]
        self.predictor = build_projector(dim, [settings.predictor_dim, dim])

    def forward(self, batch: Batch) -> Step:
        z_a, z_b = self.project(batch["view_a"]), self.project(batch["view_b"])
        loss = (self._distance(z_a, z_b) + self._distance(z_b, z_a)) / 2
        return Step(loss, {"embedding_std": deviation(z_a)})

    def _distance(self, z: Tensor, other: Tensor) -> Tensor:
        """Eq. 1: minus the cosine, -1 to 1."""
        return -F.cosine_similarity(self.predictor(z).float(), other.detach().float()).mean()
