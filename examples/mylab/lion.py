"""Lion (Chen et al. 2023, algorithm 2): steps by the sign of an interpolated momentum."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sslbench.config.parts import Optimizer
from sslbench.config.ranges import below_one


@dataclass
class Lion(Optimizer):
    """Lion; its learning rate is a tenth to a third of Adam's."""

    name: str = "lion"
    lr: float = 2e-4
    beta1: float = 0.9
    """Share of the momentum in the direction of a step."""
    beta2: float = 0.99
    """Decay of the momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("optimizer.beta1", self.beta1)
        below_one("optimizer.beta2", self.beta2)

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        options = {"weight_decay": self.weight_decay, "betas": (self.beta1, self.beta2)}
        return LionOptimizer(groups, {"lr": self.rate(device), **options})


class LionOptimizer(torch.optim.Optimizer):
    """Waits for no device, so that a CUDA graph can hold it; `lr` may be a tensor."""

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                if weights not in self.state:
                    self.state[weights]["momentum"] = torch.zeros_like(weights)
                momentum = self.state[weights]["momentum"]
                direction = torch.lerp(weights.grad, momentum, beta1).sign()
                weights.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction * group["lr"])
                momentum.lerp_(weights.grad, 1 - beta2)
