"""Views of images: random ones to learn from, the plain one to evaluate on.

A random view draws its parameters apart from applying them, on the CPU, so that every device sees
the same views and a resumed run the same as an uninterrupted one.
"""

import math

import torch
from torch import Generator, Tensor

from sslbench.augment import ops
from sslbench.config.settings import View
from sslbench.kernels import view as kernel

IMAGE_SIDE = 96
NUM_CROP_ATTEMPTS = 10
"""Boxes drawn for an image; where none lies within it, the largest central one is taken."""
NO_BLUR_SIGMA = 1e-3
NO_SOLARIZE_THRESHOLD = 256.0


class PlainView:
    """Images as they are, normalised by `mean` and `std`.

    These are (3,) on the scale 0 to 1, on the images' device.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
        """(n, 3, 96, 96) uint8 of any strides to float32 in channels_last format."""
        return ops.normalize(_to_unit_range(images), self.mean, self.std)


class RandomView:
    """A view drawn anew for each image, as `settings` say. `mean`, `std`: as in PlainView."""

    def __init__(self, settings: View, mean: Tensor, std: Tensor) -> None:
        self.settings = settings
        self.mean = mean
        self.std = std

    def sample(self, generator: Generator, n: int) -> dict[str, Tensor]:
        """Draw the parameters of n images from torchvision's distributions, on the CPU.

        Keys, shapes, dtypes and the number of draws never change. An operation that passes an image
        by has the parameters that change nothing.
        """
        view = self.settings

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(n, *shape, generator=generator)

        def chosen(probability: float) -> Tensor:
            return torch.rand(n, generator=generator) < probability

        cropped = chosen(view.crop)
        areas = uniform(*view.crop_scale, NUM_CROP_ATTEMPTS)
        ratios = uniform(*map(math.log, view.crop_ratio), NUM_CROP_ATTEMPTS).exp()
        boxes = _place_boxes(areas, ratios, view.crop_ratio, corners=uniform(0, 1, 2))
        whole_image = torch.tensor([0, 0, IMAGE_SIDE, IMAGE_SIDE])
        flipped = chosen(view.flip)
        jittered = chosen(view.jitter)
        strengths = torch.tensor([view.brightness, view.contrast, view.saturation, view.hue])
        neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
        factors = neutral + strengths * uniform(-1, 1, 4)
        ranks = uniform(0, 1, 4).argsort(dim=1)
        gray = chosen(view.grayscale)
        blurred = chosen(view.blur)
        sigmas = uniform(*view.blur_sigma)
        solarized = chosen(view.solarize)
        return {
            "box": torch.where(cropped[:, None], boxes, whole_image),
            "flip": flipped,
            "jitter_factors": torch.where(jittered[:, None], factors, neutral),
            "jitter_ranks": ranks,
            "grayscale": gray,
            "blur_sigma": torch.where(blurred, sigmas, NO_BLUR_SIGMA),
            "solarize_threshold": torch.where(
                solarized, float(view.solarize_threshold), NO_SOLARIZE_THRESHOLD
            ),
        }

    def apply(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        """(n, 3, 96, 96) uint8 of any strides to float32 in channels_last format.

        Operations with probability 0 cost nothing. Call it outside autocast.
        """
        view = self.settings
        if kernel.can_take(images):
            return kernel.random_view(images, params, self.mean, self.std, view.blur_kernel)
        images = _to_unit_range(images)
        if view.crop or view.flip:
            images = ops.resized_crop_and_flip(images, params["box"], params["flip"])
        if view.jitter:
            images = ops.color_jitter(images, params["jitter_factors"], params["jitter_ranks"])
        if view.grayscale:
            images = ops.grayscale(images, params["grayscale"])
        if view.blur:
            images = ops.gaussian_blur(images, params["blur_sigma"], view.blur_kernel)
        if view.solarize:
            images = ops.solarize(images, params["solarize_threshold"])
        return ops.normalize(images, self.mean, self.std)


def _to_unit_range(images: Tensor) -> Tensor:
    return images.float() / 255


def _place_boxes(
    areas: Tensor, ratios: Tensor, ratio_bounds: list[float], corners: Tensor
) -> Tensor:
    """The first of each image's boxes that lies within it: (n, 4) top, left, height, width.

    `areas` (shares of the image's) and `ratios` (width : height) are (n, attempts). `corners`:
    (n, 2) in [0, 1), top and left as shares of the room that the box has.
    """
    heights = (areas / ratios).sqrt().mul(IMAGE_SIDE).round()
    widths = (areas * ratios).sqrt().mul(IMAGE_SIDE).round()
    sizes = torch.stack((heights, widths), dim=2)
    fits = ((sizes >= 1) & (sizes <= IMAGE_SIDE)).all(dim=2)
    first = fits.int().argmax(dim=1)
    box = sizes[torch.arange(len(sizes)), first]
    corner = (corners * (IMAGE_SIDE - box + 1)).floor()

    ratio = min(max(1.0, ratio_bounds[0]), ratio_bounds[1])
    central = torch.tensor([min(1.0, 1 / ratio), min(1.0, ratio)]).mul(IMAGE_SIDE).round()
    central_corner = ((IMAGE_SIDE - central) / 2).floor()

    any_fits = fits.any(dim=1, keepdim=True)
    box = torch.where(any_fits, box, central)
    corner = torch.where(any_fits, corner, central_corner)
    return torch.cat((corner, box), dim=1).long()
