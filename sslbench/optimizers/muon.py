"""Muon (Jordan et al. 2024): steps in which no direction of a layer's weights stands out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.config.ranges import below_one
from sslbench.machine.hardware import auto_precision
from sslbench.optimizers.torch_optimizers import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic of Jordan et al., whose iteration brings singular values near to 1 quickly."""
NUM_ITERATIONS = 5
RMS = 0.2
"""Root mean square of a step at rate 1: about AdamW's, whose rate and decay suit both then."""


@dataclass
class Muon(AdamW):
    """Muon for hidden layers' matrices, kernels flattened; AdamW for all other weights.

    Which are the first matrix, which sees pixels, the last one, which gives classes or projections,
    biases, norms, and what has one row, as a transformer's token and positions. Steps are scaled as
    Liu et al. 2025 have it, to be as long as AdamW's.
    """

    name: str = "muon"
    momentum: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("optimizer.momentum", self.momentum)

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        matrices = [it for group in groups for it in group["params"]]
        matrices = [it for it in matrices if it.ndim > 1 and len(it) > 1]
        hidden = {id(it) for it in matrices[1:-1]}
        found = []
        for group in groups:
            for is_hidden in (True, False):
                chosen = [it for it in group["params"] if (id(it) in hidden) == is_hidden]
                found.append({**group, "params": chosen, "muon": is_hidden})
        return MuonOptimizer(
            [group for group in found if group["params"]],
            momentum=self.momentum,
            lr=self.rate(device),
            betas=tuple(self.betas),
            weight_decay=self.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )


class MuonOptimizer(torch.optim.AdamW):
    """Muon for groups that are marked `muon`, AdamW for the others.

    torch's own Muon takes no kernels, and waits for a rate that lies on a GPU.
    """

    def __init__(self, groups: list[dict], momentum: float, **options: object) -> None:
        super().__init__([{**group, "momentum": momentum} for group in groups], **options)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        for group in self.param_groups:
            for weights in group["params"] if group["muon"] else []:
                if weights.grad is not None:
                    self._move(weights, group)
                    weights.grad = None  # AdamW passes over it
        super().step()

    def _move(self, weights: Tensor, group: dict) -> None:
        if weights not in self.state:
            # AdamW looks for a step where it loads a state.
            self.state[weights] = {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weights)}
        average = self.state[weights]["momentum"].lerp_(weights.grad, 1 - group["momentum"])
        ahead = weights.grad.lerp(average, group["momentum"]).flatten(1)  # Nesterov's
        direction = orthogonalized(ahead) * (RMS * max(ahead.shape) ** 0.5)
        weights.mul_(1 - group["lr"] * group["weight_decay"])
        weights.sub_(direction.reshape(weights.shape) * group["lr"])


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return about U V^T of a matrix U S V^T: singular values of 0.7 to 1.2.

    In bf16 on hardware that has it, else in fp32.
    """
    a, b, c = COEFFICIENTS
    # Where bf16 is emulated, its products take up to thirty times as long as fp32's.
    x = matrix.bfloat16() if auto_precision(str(matrix.device)) == "bf16" else matrix.float()
    x = x.mT if len(matrix) > matrix.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if len(matrix) > matrix.shape[1] else x
