"""torch's optimizers as parts; on a GPU their state stays there, for a CUDA graph to hold it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from sslbench.config.parts import Optimizer
from sslbench.config.ranges import below_one, require

if TYPE_CHECKING:
    import torch


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    KIND: ClassVar[str] = "Adam"  # in torch.optim
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """Decay of the two moments."""

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = len(self.betas) == 2 and all(
            isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas
        )
        require(valid, "optimizer.betas", self.betas, "must be two numbers in [0, 1)")

    def build(self, groups: list[dict], device: "torch.device") -> "torch.optim.Optimizer":
        from torch import optim

        return getattr(optim, self.KIND)(
            groups,
            lr=self.rate(device),
            betas=tuple(self.betas),
            weight_decay=self.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    KIND: ClassVar[str] = "AdamW"


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9
    nesterov: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("optimizer.momentum", self.momentum)

    def build(self, groups: list[dict], device: "torch.device") -> "torch.optim.Optimizer":
        from torch.optim import SGD as TorchSGD

        return TorchSGD(
            groups,
            lr=self.rate(device),
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
            fused=True,
        )
