"""LARS (You et al. 2017): each layer's step is as long as its weights are large."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sslbench.config.parts import Optimizer
from sslbench.config.ranges import below_one, positive


@dataclass
class LARS(Optimizer):
    """SGD with momentum and a rate for each layer, for large batches; biases and norms have none.

    As in the code of SimCLR and Barlow Twins, whose biases and norms do not decay either. Barlow
    Twins' have a lower rate of their own, 0.0048 beside 0.2, which is `method.loss_scale=0.024`.
    """

    name: str = "lars"
    decay_norms_and_biases: bool = False
    momentum: float = 0.9
    trust: float = 0.001
    """Length of a step at rate 1, as a share of the length of the layer's weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("optimizer.momentum", self.momentum)
        positive("optimizer.trust", self.trust)

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        options = {"momentum": self.momentum, "trust": self.trust}
        options |= {"lr": self.rate(device), "weight_decay": self.weight_decay}
        return LARSOptimizer(groups, options)


class LARSOptimizer(torch.optim.Optimizer):
    """torch has none. It waits for no device, so that a CUDA graph can hold it."""

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        """Move weights w by -lr v, where v <- m v + trust |w| / |d| d, and d = gradient + decay w.

        Where w or d is 0, and for biases and norms, v <- m v + d.
        """
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                if weights not in self.state:
                    self.state[weights]["momentum"] = torch.zeros_like(weights)
                direction = weights.grad + group["weight_decay"] * weights
                if weights.ndim > 1:
                    long, short = weights.norm(), direction.norm()
                    trust = group["trust"] * long / short
                    direction *= torch.where((long > 0) & (short > 0), trust, 1.0)
                momentum = self.state[weights]["momentum"].mul_(group["momentum"]).add_(direction)
                weights.sub_(momentum * group["lr"])
