"""A random view of each image of a batch, as one pass over it on the processor."""

import ctypes

import torch
from torch import Tensor

from sslbench.kernels import library

SHAPE = (3, 96, 96)
PARAMS = {
    "box": torch.int64,
    "flip": torch.bool,
    "jitter_factors": torch.float32,
    "jitter_ranks": torch.int64,
    "grayscale": torch.bool,
    "blur_sigma": torch.float32,
    "solarize_threshold": torch.float32,
}
"""In the order of the kernel's arguments."""


def can_take(images: Tensor) -> bool:
    """Whether the kernel takes a batch: bytes on a processor, where C is compiled."""
    return (
        images.device.type == "cpu"
        and images.dtype == torch.uint8
        and images.shape[1:] == SHAPE
        and library.load("view") is not None
    )


def random_view(
    images: Tensor, params: dict[str, Tensor], mean: Tensor, std: Tensor, blur_kernel: int
) -> Tensor:
    """Return what `RandomView.apply` does, float32 in channels_last format.

    Args:
        images: `(n, 3, 96, 96)` for which `can_take` holds, of any strides.
        params: As `RandomView.sample` draws them.
        mean: `(3,)` float32, as `std` is.
        blur_kernel: Odd, in pixels.
    """
    assert {name: params[name].dtype for name in PARAMS} == PARAMS
    images = images.contiguous()
    result = torch.empty(images.shape, memory_format=torch.channels_last)
    rest = [tensor.contiguous() for tensor in (*(params[name] for name in PARAMS), mean, std)]
    library.load("view").view(
        *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (images, result, *rest)),
        ctypes.c_int64(len(images)),
        ctypes.c_int(blur_kernel // 2),
        ctypes.c_int(torch.get_num_threads()),
    )
    return result
