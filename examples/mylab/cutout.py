"""Cutout (DeVries and Taylor 2017): a grey square that may reach over the image's edge."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sslbench.config.data import LARGEST_SIDE
from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import require


@dataclass
class Cutout(Operation):
    """Hides a square of the image."""

    p: float = 0.5
    size: int = 24
    """Side of the square in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = 1 <= self.size <= LARGEST_SIDE
        require(fits, "augmentation: size", self.size, f"must be 1 to {LARGEST_SIDE}")

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        return {"centers": torch.randint(side, (n, 2), generator=generator)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        pixels = torch.arange(images.shape[-1], device=images.device) + 0.5
        starts = params["centers"][..., None] - self.size / 2  # (n, 2, 1): row and column
        inside = (pixels > starts) & (pixels < starts + self.size)
        hidden = inside[:, 0, :, None] & inside[:, 1, None, :]
        return images.masked_fill(hidden[:, None], 0.5)
