"""Enlarging boxes of images bicubically, as PIL and torchvision do: a matrix product by axis."""

import torch
from torch import Tensor

SHARPNESS = -0.5
"""The cubic's free parameter: that of PIL, and of torchvision with antialiasing."""


def resized_crop_bicubic(images: Tensor, boxes: Tensor) -> Tensor:
    """Enlarge a box of each image to the image's own size; values are kept within 0 to 1.

    Args:
        images: `(n, 3, H, W)` float32 in [0, 1].
        boxes: `(n, 4)` integers top, left, height, width, within the image.
    """
    height, width = images.shape[-2:]
    top, left, box_height, box_width = boxes.to(images.dtype).unbind(1)
    rows = _weights(top, box_height, height)[:, None]
    columns = _weights(left, box_width, width)[:, None].mT
    return (rows @ images @ columns).clamp_(0, 1)


def _weights(start: Tensor, length: Tensor, size: int) -> Tensor:
    """How much each of `size` source pixels counts in each of `size` new ones: (n, new, source).

    Those outside the box from `start` on count nothing, and the others make up for it.
    """
    pixels = torch.arange(size, dtype=start.dtype, device=start.device)
    start, length = start[:, None, None], length[:, None, None]
    centers = start + (pixels[:, None] + 0.5) * length / size - 0.5
    weights = _cubic((pixels - centers).abs())
    weights = weights * ((pixels >= start) & (pixels < start + length)).to(weights.dtype)
    return weights / weights.sum(2, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel at distances x >= 0 (Keys 1981)."""
    a = SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * (a * x) - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))
