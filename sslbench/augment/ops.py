"""Image operations on a batch in which each image has parameters of its own.

Images are `(n, 3, H, W)` float32 in [0, 1]; parameters have n as their first dimension and lie on
the images' device. Each operation gives what torchvision.transforms.v2.functional gives for each
image alone. Nothing here waits for the device or has a shape that depends on values, so that a
CUDA graph can hold it and torch.compile takes it whole. Call it outside autocast: half precision
would round the blurred images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of the colour jitter's parameters."""


def resized_crop_and_flip(images: Tensor, boxes: Tensor, flipped: Tensor) -> Tensor:
    """Enlarge a box of each image to the image's own size, bilinearly, and mirror it or not.

    `boxes`: (n, 4) integers top, left, height, width, within the image. `flipped`: (n,) bool.
    A box is never larger than the result, so antialiasing has nothing to do.
    """
    height, width = images.shape[-2:]
    top, left, box_height, box_width = boxes.to(images.dtype).unbind(1)
    rows = _source_positions(top, box_height, height)
    columns = _source_positions(left, box_width, width)
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    # grid_sample counts from -1 to 1, from the first pixel's outer edge to the last one's.
    x = ((2 * columns + 1) / width - 1)[:, None, :].expand(-1, height, -1)
    y = ((2 * rows + 1) / height - 1)[:, :, None].expand(-1, -1, width)
    grid = torch.stack((x, y), dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _source_positions(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where `size` pixels lie in the source if `length` pixels from `start` fill them: (n, size).

    Pixels beyond the centres of the box's outermost pixels repeat these.
    """
    centers = torch.arange(size, dtype=start.dtype, device=start.device) + 0.5
    offsets = (length / size)[:, None] * centers - 0.5
    return start[:, None] + offsets.clamp(min=0).minimum(length[:, None] - 1)


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
        gray = _luma(images)
        mean = gray.mean(dim=(2, 3), keepdim=True)
        other = gray * _per_image(gray_share[:, slot]) + mean * _per_image(mean_share[:, slot])
        images = torch.addcmul(other, images, _per_image(scale[:, slot])).clamp_(0, 1)
    return images


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn each image's hues by `shifts`, (n,) in turns of the colour circle, -0.5 to 0.5.

    Value and saturation stay. With chroma the largest channel minus the smallest, the hue is a
    position on a hexagon of circumference 6 x chroma with red at 0, green at 2 and blue at 4; a
    channel is full within 1 x chroma of its corner and falls to nothing at 2. Left unscaled, none
    of this divides by the chroma, as the way through HSV does.
    """
    red, green, blue = images.unbind(1)
    highest = red.maximum(green).maximum(blue)
    lowest = red.minimum(green).minimum(blue)
    chroma = highest - lowest
    position = torch.where(
        red == highest,
        green - blue,
        torch.where(green == highest, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    position = position + (6 * shifts)[:, None, None] * chroma
    channels = []
    for corner in (0, 2, 4):
        distance = (position - corner * chroma).abs()
        distance = distance.minimum((distance - 6 * chroma).abs())
        channels.append(lowest + (2 * chroma - distance).clamp(min=0).minimum(chroma))
    return torch.stack(channels, dim=1)


def grayscale(images: Tensor, applied: Tensor) -> Tensor:
    """Take the colour from the images where `applied`, (n,) bool."""
    share = _per_image(applied.to(images.dtype))
    return torch.addcmul(_luma(images) * share, images, 1 - share)


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


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the values from `thresholds` on, (n,) on the scale 0 to 255; 256 changes nothing."""
    return torch.where(images >= _per_image(thresholds / 255), 1 - images, images)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Subtract `mean` and divide by `std`, (3,) each; the result is in channels_last format."""
    normalized = (images - mean[:, None, None]) / std[:, None, None]
    return normalized.contiguous(memory_format=torch.channels_last)


def _luma(images: Tensor) -> Tensor:
    """Brightness as the eye sees it, (n, 1, H, W): ITU-R BT.601 with torchvision's digits."""
    red, green, blue = images.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _per_image(values: Tensor) -> Tensor:
    """(n,) to (n, 1, 1, 1), to be broadcast over an image."""
    return values[:, None, None, None]
