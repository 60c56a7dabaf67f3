"""Which part of an image is seen: padding crop, Cutout, random erasing."""

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from sslbench.augment import ops
from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import fraction, interval, require

GRAY = 0.5
"""What hides a part of an image; near to the mean of photographs."""


@dataclass
class PaddedCrop(Operation):
    """The image moved by some pixels, its margins reflected (torchvision's pad and RandomCrop).

    With the flip it is FixMatch's weak augmentation (Sohn et al. 2020, section 2.3).
    """

    padding: int = 12
    """Most pixels that it moves by, in each direction: an eighth of the image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.padding >= 0, "augmentation: padding", self.padding, "must be at least 0")

    def require_side(self, side: int) -> None:
        rule = f"must be below data.side={side}, whose margins are reflected once"
        require(self.padding < side, "augmentation: padding", self.padding, rule)

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        return {"corners": torch.randint(2 * self.padding + 1, (n, 2), generator=generator)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return padded_crop(images, params["corners"], self.padding)


@dataclass
class Cutout(Operation):
    """A grey square that may reach over the image's edges (DeVries and Taylor 2017)."""

    size: int = 32
    """Side of the square in pixels. DeVries and Taylor: 32 on STL-10 that is augmented, 24 else."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size >= 1, "augmentation: size", self.size, "must be at least 1")

    def require_side(self, side: int) -> None:
        rule = f"must be at most data.side={side}"
        require(self.size <= side, "augmentation: size", self.size, rule)

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        corners = torch.randint(side, (n, 2), generator=generator) - self.size // 2
        return {"boxes": torch.cat((corners, torch.full((n, 2), self.size)), dim=1)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return erase(images, params["boxes"], GRAY)


@dataclass
class RandomErasing(Operation):
    """A grey box within the image (Zhong et al. 2020; torchvision's, with a value).

    Where none of ten boxes fits, the largest central one is taken; torchvision's takes none.
    """

    p: float = 0.5
    scale: list[float] = field(default_factory=lambda: [0.02, 0.33])
    """Share of the image's area that is hidden."""
    ratio: list[float] = field(default_factory=lambda: [0.3, 3.3])
    """Width : height of the box, drawn log-uniformly."""
    value: float = GRAY
    """Of the hidden pixels, from 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        interval("augmentation: scale", self.scale, 1e-4, 1.0)
        interval("augmentation: ratio", self.ratio, 0.01, 100.0)
        fraction("augmentation: value", self.value)

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        return {"boxes": ops.draw_boxes(generator, n, side, self.scale, self.ratio)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        return erase(images, params["boxes"], self.value)


def padded_crop(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Crop each image to its own size at a corner of the image with reflected margins.

    `corners`: (n, 2) integers top, left, from 0 to twice the `padding` in pixels; at the padding
    itself nothing changes.
    """
    num_images, num_channels, height, width = images.shape
    rows = _reflected(corners[:, 0] - padding, height)[:, None, :, None]
    columns = _reflected(corners[:, 1] - padding, width)[:, None, None, :]
    of_image = torch.arange(num_images, device=images.device)[:, None, None, None]
    channels = torch.arange(num_channels, device=images.device)[:, None, None]
    return images[of_image, channels, rows, columns]


def _reflected(start: Tensor, size: int) -> Tensor:
    """Positions in `size` pixels of as many from `start` on, reflected at both ends: (n, size)."""
    positions = start[:, None] + torch.arange(size, device=start.device)
    return size - 1 - (size - 1 - positions.abs()).abs()


def erase(images: Tensor, boxes: Tensor, value: float) -> Tensor:
    """Fill a box of each image; `boxes` as in `ops.resized_crop`, but may reach over the edges."""
    return images.masked_fill(inside_boxes(boxes, *images.shape[-2:]), value)


def inside_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in an image's box: (n, 1, height, width) bool."""
    top, left, box_height, box_width = boxes[:, :, None].unbind(1)
    rows = torch.arange(height, device=boxes.device)
    columns = torch.arange(width, device=boxes.device)
    in_rows = (rows >= top) & (rows < top + box_height)
    in_columns = (columns >= left) & (columns < left + box_width)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]
