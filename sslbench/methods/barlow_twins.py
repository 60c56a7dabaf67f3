"""Barlow Twins (Zbontar et al. 2021; paper, table 2)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sslbench.config.parts import EXECUTION, Sizes
from sslbench.config.ranges import not_negative, positive
from sslbench.methods.self_supervised import SelfSupervised

if TYPE_CHECKING:
    from torch import nn

    from sslbench.interfaces import MethodModule


@dataclass
class BarlowTwins(SelfSupervised):
    """Barlow Twins on unlabelled images."""

    name: str = "barlow"
    snapshot_steps: list[int] = field(
        default_factory=lambda: [50, 500, 1000, 2000, 4000], metadata=EXECUTION
    )
    """Paper, figure 5: steps 50 and 4000."""
    lambd: float = 0.0051
    """Weight of the redundancy-reduction term: the lambda of Zbontar et al. 2021, eq. 1."""
    loss_scale: float = 1.0
    """The loss is multiplied by it. Reading: 1, as in eq. 1; Zbontar et al.'s first code has
    0.024. Adam learns the same, but for rounding; LARS too, but for biases and norms."""
    projector: list[int] = field(default_factory=list)
    """Widths of the projector's layers. Reading: none, as the paper's pipeline puts the loss on the
    embeddings; Zbontar et al. use [8192, 8192, 8192]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative("method.lambd", self.lambd, 1e9)
        positive("method.loss_scale", self.loss_scale, 1e9)

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        from sslbench.methods.barlow_twins_module import BarlowTwinsModule

        return BarlowTwinsModule(encoder, self)
