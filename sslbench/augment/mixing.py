"""Two images of a batch in one: MixUp and CutMix, as torchvision.transforms.v2 has them.

Each image is mixed with the one before it in the batch, by a share of its own; of both labels the
loss takes as much. In a view there may be one of them, for a method that heeds the shares.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from sslbench.augment import ops
from sslbench.augment.patches import inside_boxes
from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import positive


@dataclass
class Mixing(Operation):
    """What both share: how much is left of each image."""

    mixes: ClassVar[bool] = True
    p: float = 0.5
    alpha: float = 1.0
    """Of the Beta distribution of shares, symmetric; 1: all shares alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("augmentation: alpha", self.alpha, 1e6)

    def draw_shares(self, generator: Generator, n: int) -> Tensor:
        """Draw (n,) float32 in [0, 1] from Beta(alpha, alpha)."""
        # torch's Beta takes no generator.
        seed = int(torch.randint(2**62, (), generator=generator))
        shares = np.random.default_rng(seed).beta(self.alpha, self.alpha, n)
        return torch.from_numpy(shares.astype(np.float32))


@dataclass
class MixUp(Mixing):
    """The weighted mean of two images (Zhang et al. 2018)."""

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        return {"shares": self.draw_shares(generator, n)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return torch.lerp(images.roll(1, 0), images, ops.per_image(params["shares"]))


@dataclass
class CutMix(Mixing):
    """A box of another image (Yun et al. 2019)."""

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        half = ((1 - self.draw_shares(generator, n)).sqrt() * side / 2).long()[:, None]
        centers = torch.randint(side, (n, 2), generator=generator)
        starts, ends = (centers - half).clamp(min=0), (centers + half).clamp(max=side)
        sizes = ends - starts
        return {
            "boxes": torch.cat((starts, sizes), dim=1),
            "shares": 1 - sizes.prod(dim=1) / side**2,
        }

    def apply(self, images: Tensor, params: Params) -> Tensor:
        inside = inside_boxes(params["boxes"], *images.shape[-2:])
        return torch.where(inside, images.roll(1, 0), images)
