"""RandAugment (Cubuk et al. 2020), with FixMatch's list and ranges (Sohn et al. 2020, table 12).

What each image gets is what torchvision.transforms.v2.functional makes of floats, bilinear where
pixels move. As in `ops`, nothing waits for the device.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sslbench.augment import ops
from sslbench.augment.patches import GRAY
from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import fraction, positive


class Range(NamedTuple):
    """A kind of change, and its values at the lowest and at the highest level."""

    name: str
    lowest: float = 0.0
    highest: float = 0.0
    signed: bool = False
    """Whether every other value is negative."""


LIST = (
    Range("identity"),
    Range("shear_x", 0, 0.3, signed=True),
    Range("shear_y", 0, 0.3, signed=True),
    Range("translate_x", 0, 0.3, signed=True),  # of the image's side
    Range("translate_y", 0, 0.3, signed=True),
    Range("rotate", 0, 30, signed=True),  # degrees
    Range("brightness", 0.95, 0.05),
    Range("color", 0.95, 0.05),
    Range("contrast", 0.95, 0.05),
    Range("sharpness", 0.95, 0.05),
    Range("posterize", 8, 4),  # bits
    Range("solarize", 1, 0),
    Range("autocontrast"),
    Range("equalize"),
)
KINDS = {each.name: kind for kind, each in enumerate(LIST)}


@dataclass
class RandAugment(Operation):
    """Some changes of a list of 14, one after the other, each with a level of its own.

    As in FixMatch the level is random too, instead of one for all images. Reading: what is drawn is
    always done, as both papers have it; FixMatch's code leaves it out in half of all cases.
    """

    num_ops: int = 2
    """Changes of an image; one may be the identity, or be drawn twice."""
    magnitude: float = 1.0
    """Levels are drawn from 0 to this share of the published ranges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("augmentation: num_ops", self.num_ops, 14)
        fraction("augmentation: magnitude", self.magnitude)

    def sample(self, generator: Generator, n: int, side: int) -> Params:
        shape = (n, self.num_ops)
        kinds = torch.randint(len(LIST), shape, generator=generator)
        levels = ops.uniform(generator, 0, self.magnitude, *shape)
        is_negative = torch.rand(shape, generator=generator) < 0.5
        lowest, highest, signed = (
            torch.tensor([each[column] for each in LIST])[kinds] for column in (1, 2, 3)
        )
        values = lowest + levels * (highest - lowest)
        values = torch.where(kinds == KINDS["posterize"], values.round(), values)
        return {"kinds": kinds, "values": torch.where(is_negative & signed.bool(), -values, values)}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        images = images.clone()
        for slot in range(self.num_ops):
            kinds, values = params["kinds"][:, slot], params["values"][:, slot]
            for first, last, change in FAMILIES:
                chosen = (kinds >= KINDS[first]) & (kinds <= KINDS[last])
                own = {"kinds": kinds, "values": values}
                images = ops.change_where(chosen, change, images, own)
        return images


def move_pixels(images: Tensor, params: Params) -> Tensor:
    """Shear, translate or rotate; grey comes in at the edges.

    A shear is about the image's top left corner, a rotation about its centre.
    """

    def of(kind: str) -> Tensor:
        chosen = params["kinds"] == KINDS[kind]
        return torch.where(chosen, params["values"], 0)[:, None, None]

    height, width = images.shape[-2:]
    # Where each pixel comes from, counted from the image's centre.
    y = (torch.arange(height, device=images.device) + 0.5 - height / 2)[:, None]
    x = torch.arange(width, device=images.device) + 0.5 - width / 2
    angle = of("rotate") * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    source_x = cos * x - sin * y + of("shear_x") * (y + height / 2) - of("translate_x") * width
    source_y = sin * x + cos * y + of("shear_y") * (x + width / 2) - of("translate_y") * height
    grid = torch.stack((source_x * (2 / width), source_y * (2 / height)), dim=3)
    # Outside the image grid_sample finds zeros.
    moved = F.grid_sample(images - GRAY, grid, align_corners=False) + GRAY
    return moved.clamp_(0, 1)  # what rounding leaves below 0 would fall to a lower level


def blend(images: Tensor, params: Params) -> Tensor:
    """Change brightness, colour, contrast or sharpness by a factor; 1 changes nothing."""

    def is_of(kind: str) -> Tensor:
        return ops.per_image((params["kinds"] == KINDS[kind]).to(images.dtype))

    gray = ops.luma(images)
    other = is_of("color") * gray + is_of("contrast") * gray.mean((2, 3), keepdim=True)
    other = other + is_of("sharpness") * smooth(images)
    factors = ops.per_image(params["values"])
    return (factors * images + (1 - factors) * other).clamp_(0, 1)


def smooth(images: Tensor) -> Tensor:
    """Average each pixel with its eight neighbours, of which it has five times the weight.

    Those at the edges stay.
    """
    smoothed, inner = images.clone(), images[..., 1:-1, 1:-1]
    smoothed[..., 1:-1, 1:-1] = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * inner) / 13
    return smoothed


def posterize(images: Tensor, params: Params) -> Tensor:
    """Keep so many bits of each value."""
    levels = ops.per_image(params["values"].exp2())
    return (images * levels).floor_().minimum(levels - 1) / levels


def solarize(images: Tensor, params: Params) -> Tensor:
    """Invert the values from a threshold on."""
    return torch.where(images >= ops.per_image(params["values"]), 1 - images, images)


def autocontrast(images: Tensor, params: Params) -> Tensor:
    """Stretch each channel's values to the range from 0 to 1; one of one value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = low == high
    return ((images - low.masked_fill(flat, 0)) / (high - low).masked_fill(flat, 1)).clamp_(0, 1)


def equalize(images: Tensor, params: Params) -> Tensor:
    """Make all of each channel's values about as frequent, by 256 levels, as Pillow has it."""
    levels = (images * 255.999).long().flatten(2)
    counts = levels.new_zeros(*levels.shape[:2], 256)
    counts = counts.scatter_add_(2, levels, torch.ones_like(levels))
    up_to = counts.cumsum(2)
    # Pixels of the highest level are left out where the others are shared out among 255 steps.
    of_highest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - of_highest) // 255
    below = up_to - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(2, levels).view(images.shape) / 255


FAMILIES = (
    ("shear_x", "rotate", move_pixels),
    ("brightness", "sharpness", blend),
    ("posterize", "posterize", posterize),
    ("solarize", "solarize", solarize),
    ("autocontrast", "autocontrast", autocontrast),
    ("equalize", "equalize", equalize),
)
"""First and last kind of those that one function computes, each image by its own kind."""
