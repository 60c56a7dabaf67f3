"""A vignette: the farther from a centre, the darker, as in photographs by simple lenses."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import fraction


@dataclass
class Vignette(Operation):
    """Darkens each image by the square of the distance from a centre of its own."""

    p: float = 0.5
    strength: float = 0.5
    """Share of its light that a pixel loses at most, a side's length from the centre."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("augmentation: strength", self.strength)

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        strengths = self.strength * torch.rand(n, generator=generator)
        return {"centers": torch.rand((n, 2), generator=generator), "strengths": strengths}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        side = images.shape[-1]
        places = (torch.arange(side, device=images.device) + 0.5) / side
        rows, columns = (places - params["centers"][..., None]).square().unbind(1)  # (n, side)
        distances = (rows[:, None, :, None] + columns[:, None, None, :]).clamp_max(1)
        return images * (1 - params["strengths"][:, None, None, None] * distances)
