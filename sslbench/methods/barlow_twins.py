"""Barlow Twins (Zbontar et al. 2021; paper, table 2)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sslbench.config.parts import EXECUTION, UNLABELED, Method, Ratio, Sizes, Stream
from sslbench.config.ranges import all_positive, not_negative, positive, require

if TYPE_CHECKING:
    from torch import nn

    from sslbench.interfaces import MethodModule


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
        not_negative("method.lambd", self.lambd, 1e9)
        in_range = 1e-9 <= self.probe_l2 <= 1e9
        require(in_range, "method.probe_l2", self.probe_l2, "must be from 1e-9 to 1e9")
        positive("method.knn_k", self.knn_k, 1_000_000_000)
        all_positive("method.projector", self.projector, 1_000_000, longest=32)

    def streams(self, ratio: Ratio) -> list[Stream]:
        return [Stream(UNLABELED, {"view_a": "view_a", "view_b": "view_b"}, self.batch_size)]

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        from sslbench.methods.barlow_twins_module import BarlowTwinsModule

        return BarlowTwinsModule(encoder, self.projector, self.lambd, self.probe_l2, self.knn_k)
