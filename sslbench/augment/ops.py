"""Changes of a batch of images in which each image has parameters of its own, and their drawing.

Images are `(n, 3, H, W)` float32 in [0, 1]; parameters have n as their first dimension and lie on
the images' device. Each function gives what torchvision.transforms.v2.functional gives for each
image alone. Nothing here waits for the device or has a shape that depends on values, so that a
CUDA graph can hold it and torch.compile takes it whole. Call it outside autocast: half precision
would round the blurred images.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sslbench.config.parts import Params

NUM_CROP_ATTEMPTS = 10
"""Boxes drawn for an image; where none lies within it, the largest central one is taken."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of the colour jitter's parameters."""


def change_where(
    chosen: Tensor, change: Callable[[Tensor, Params], Tensor], images: Tensor, params: Params
) -> Tensor:
    """Change the images that are `chosen`, (n,) bool; on a CPU these alone are computed, in place.

    Elsewhere a shape that depends on what is chosen would wait for the device.
    """
    if images.device.type != "cpu":
        return torch.where(per_image(chosen), change(images, params), images)
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        own = {name: values[rows] for name, values in params.items()}
        images[rows] = change(images[rows], own)
    return images


def resized_crop(images: Tensor, boxes: Tensor, *, bicubic: bool = False) -> Tensor:
    """Enlarge a box of each image to the image's own size, bilinearly or bicubically.

    `boxes`: (n, 4) integers top, left, height, width, within the image. A box is never larger than
    the result, so antialiasing has nothing to do.
    """
    height, width = images.shape[-2:]
    top, left, box_height, box_width = boxes.to(images.dtype).unbind(1)
    if bicubic:
        rows = _cubic_weights(top, box_height, height)[:, None]
        columns = _cubic_weights(left, box_width, width)[:, None]
        return (rows @ images @ columns.mT).clamp_(0, 1)  # it overshoots next to edges
    y = _sampling_grid(top, box_height, height)
    x = _sampling_grid(left, box_width, width)
    grid = torch.stack(
        (x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), dim=3
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _sampling_grid(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where `size` pixels lie in the source if `length` pixels from `start` fill them: (n, size).

    As grid_sample counts: -1 and 1 are the outer edges of the source's first and last pixel.
    """
    centers = torch.arange(size, dtype=start.dtype, device=start.device) + 0.5
    offsets = length[:, None] / size * centers
    # Pixels that lie beyond the centres of the box's outermost pixels repeat these.
    offsets = offsets.clamp(min=0.5).minimum(length[:, None] - 0.5)
    return (start[:, None] + offsets) * (2 / size) - 1


def _cubic_weights(start: Tensor, length: Tensor, size: int) -> Tensor:
    """How much each source pixel counts in each of `size` pixels: (n, size, size), rows sum to 1.

    Keys's cubic with a = -0.5, cut off where the source's `length` pixels from `start` end.
    """
    pixels = torch.arange(size, dtype=start.dtype, device=start.device) + 0.5
    centers = start[:, None] + length[:, None] / size * pixels
    distances = (pixels - centers[:, :, None]).abs()
    near = (1.5 * distances - 2.5) * distances.square() + 1
    far = ((2.5 - 0.5 * distances) * distances - 4) * distances + 2
    weights = torch.where(distances < 1, near, torch.where(distances < 2, far, 0))
    within = (pixels > start[:, None]) & (pixels < (start + length)[:, None])
    weights = weights * within[:, None]
    return weights / weights.sum(2, keepdim=True)


def color_jitter(images: Tensor, factors: Tensor, ranks: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, in its own order.

    `factors`: (n, 4), of which 1, 1, 1, 0 change nothing; hue as `adjust_hue` takes it.
    `ranks`: (n, 4) permutations of 0 to 3; the operation of rank 0 comes first.
    """
    # Hue is by far the dearest, so it is computed once, at the same time for all images. Three
    # slots before it and three after hold whatever comes before and after it in an image's order.
    hue_rank = ranks[:, HUE, None]
    ranks = ranks[:, :HUE]
    slots = ranks - hue_rank + 3 - (ranks > hue_rank).to(ranks.dtype)
    in_slot = slots[:, :, None] == torch.arange(6, device=slots.device)
    scale = torch.where(in_slot, factors[:, :HUE, None], 1).prod(dim=1)
    gray_share = in_slot[:, SATURATION] * (1 - factors[:, SATURATION, None])
    mean_share = in_slot[:, CONTRAST] * (1 - factors[:, CONTRAST, None])
    for slot in range(6):
        if slot == 3:
            images = adjust_hue(images, factors[:, HUE])
        gray = luma(images)
        mean = gray.mean(dim=(2, 3), keepdim=True) * per_image(mean_share[:, slot])
        other = torch.addcmul(mean, gray, per_image(gray_share[:, slot]))
        images = torch.addcmul(other, images, per_image(scale[:, slot])).clamp_(0, 1)
    return images


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn each image's hues by `shifts`, (n,) in turns of the colour circle, -0.5 to 0.5.

    Value and saturation stay. Hues lie on a hexagon with red at 0, green at 2 and blue at 4 of 6. A
    channel is at its highest up to 1 from its corner and at its lowest from 2 on. All lengths here
    are multiplied by the chroma (highest - lowest), so that none has to be divided by it.
    """
    red, green, blue = images.unbind(1)
    highest = red.maximum(green).maximum(blue)
    lowest = red.minimum(green).minimum(blue)
    chroma = highest - lowest
    # How far the hue is from red, towards green if positive. Two of the channels are the highest
    # and the lowest one, which makes this right in each of the six sectors.
    position = (chroma - lowest).sub_(red).add_(green).add_(blue).copysign_(green - blue)
    channels = []
    for corner in (0, 2, 4):
        # Wrapped to half a turn, for each image: distances then stay below 7, where what follows,
        # which is full from 5 on, would have to fall again.
        turn = torch.remainder(6 * shifts - corner + 3, 6) - 3
        distance = torch.addcmul(position, chroma, turn[:, None, None]).abs_()
        height = distance.sub_(chroma, alpha=3).abs_().sub_(chroma).clamp_(min=0)
        channels.append(height.minimum(chroma).add_(lowest))
    return torch.stack(channels, dim=1)


def grayscale(images: Tensor) -> Tensor:
    """Take the colour from the images."""
    return luma(images).expand(-1, 3, -1, -1)


def gaussian_blur(images: Tensor, sigmas: Tensor, kernel_size: int) -> Tensor:
    """Blur each image by a Gaussian of `sigmas` pixels, (n,), with reflected edges.

    `kernel_size`: odd and less than twice the image's side. A sigma below 0.05 changes nothing.
    """
    num_images, num_channels, height, width = images.shape
    radius = kernel_size // 2
    distances = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernels = torch.softmax(-0.5 * (distances / sigmas[:, None]) ** 2, dim=1)
    # A grouped convolution has a kernel per channel: all channels of all images become channels.
    kernels = kernels.repeat_interleave(num_channels, dim=0)[:, None]
    padded = F.pad(images, (radius, radius, radius, radius), mode="reflect")
    planes = padded.reshape(1, -1, height + 2 * radius, width + 2 * radius)
    planes = F.conv2d(planes, kernels[:, :, :, None], groups=num_images * num_channels)
    planes = F.conv2d(planes, kernels[:, :, None, :], groups=num_images * num_channels)
    return planes.reshape(images.shape)


def solarize(images: Tensor, threshold: int) -> Tensor:
    """Invert the values from `threshold` on, on the scale 0 to 255; 256 changes nothing."""
    # Arithmetic, as torch.where is several times slower on the CPU.
    inverted = (images >= threshold / 255).to(images.dtype)
    return torch.addcmul(images, inverted, 1 - 2 * images)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Subtract `mean` and divide by `std`, (3,) each; the result is in channels_last format."""
    normalized = images.sub(mean[:, None, None]).div_(std[:, None, None])
    return normalized.contiguous(memory_format=torch.channels_last)


def luma(images: Tensor) -> Tensor:
    """Brightness as the eye sees it, (n, 1, H, W): ITU-R BT.601 with torchvision's digits."""
    red, green, blue = images.split(1, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def per_image(values: Tensor) -> Tensor:
    """(n,) to (n, 1, 1, 1), to be broadcast over an image."""
    return values[:, None, None, None]


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw float32 from [low, high)."""
    return torch.rand(*shape, generator=generator).mul_(high - low).add_(low)


def draw_boxes(
    generator: Generator, n: int, side: int, scale: list[float], ratio: list[float]
) -> Tensor:
    """Draw boxes as torchvision's RandomResizedCrop does: (n, 4) int64 top, left, height, width.

    `scale`: bounds of the share of the image's area; `ratio`: of width : height, log-uniform.
    """
    areas = uniform(generator, *scale, n, NUM_CROP_ATTEMPTS)
    ratios = uniform(generator, *map(math.log, ratio), n, NUM_CROP_ATTEMPTS).exp_()
    heights = (areas / ratios).sqrt_().mul_(side).round_()
    widths = areas.mul_(ratios).sqrt_().mul_(side).round_()
    fits = (heights >= 1) & (heights <= side) & (widths >= 1) & (widths <= side)
    first = fits.byte().argmax(dim=1, keepdim=True)
    box = torch.cat((heights.gather(1, first), widths.gather(1, first)), dim=1)
    corner = (uniform(generator, 0, 1, n, 2) * (side - box + 1)).floor()

    square = min(max(1.0, ratio[0]), ratio[1])  # the allowed ratio that is nearest to it
    central = torch.tensor([min(1.0, 1 / square), min(1.0, square)]).mul(side).round()
    central_corner = ((side - central) / 2).floor()

    any_fits = fits.any(dim=1, keepdim=True)
    box = torch.where(any_fits, box, central)
    corner = torch.where(any_fits, corner, central_corner)
    return torch.cat((corner, box), dim=1).long()


def draw_jitter(
    generator: Generator, n: int, strengths: tuple[float, float, float, float]
) -> tuple[Tensor, Tensor]:
    """Draw factors and ranks of `color_jitter`, (n, 4) each, in all orders alike."""
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    factors = neutral + torch.tensor(strengths) * uniform(generator, -1, 1, n, 4)
    return factors, torch.rand(n, 4, generator=generator).argsort(dim=1)
