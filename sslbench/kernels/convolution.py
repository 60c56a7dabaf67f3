"""A 3x3 convolution by Winograd's minimal filtering, as one operation on the processor."""

import ctypes
from math import ceil
from typing import Any

import torch
from torch import Tensor

from sslbench.kernels import library
from sslbench.kernels.operation import operation

DEFINES = {torch.bfloat16: ("BF16",), torch.float32: ()}
CHANNEL_MULTIPLE = {torch.bfloat16: 32, torch.float32: 16}
"""With 16 channels in bfloat16 torch's convolution is as fast."""
MAX_CHANNELS = 512
"""With more, filters and their gradients leave the processor's cache."""
WORTHWHILE = 1.7
"""Times fewer products than without; transforms take a quarter to a third of the time."""


def can_take(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel takes a batch: in channels_last on a processor, where it is faster.

    Args:
        x: The images, `(B, in, H, W)`.
        weight: The filters, `(out, in, 3, 3)`, of a convolution of stride 1 and padding 1.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in DEFINES
        and weight.dtype == torch.float32
        and x.dim() == 4
        and x.numel() > 0
        and x.shape[1] == weight.shape[1]
        and all(n % CHANNEL_MULTIPLE[x.dtype] == 0 and n <= MAX_CHANNELS for n in weight.shape[:2])
        and x.is_contiguous(memory_format=torch.channels_last)
        and _products_saved(*x.shape[2:]) >= WORTHWHILE
        and _is_faster_here(x.dtype)
        and library.load("convolution", *DEFINES[x.dtype]) is not None
    )


def _is_faster_here(dtype: torch.dtype) -> bool:
    """Whether the processor has what the kernel was measured with, and no matrix units."""
    flags = library.processor_flags()
    if dtype == torch.bfloat16:
        return "avx512_bf16" in flags and "amx_bf16" not in flags
    return "avx2" in flags


def _products_saved(height: int, width: int) -> float:
    """How many times fewer products a pair of channels takes than without those by padding."""
    return (3 * height - 2) * (3 * width - 2) / (16 * ceil(height / 2) * ceil(width / 2))


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    dy = dy.contiguous(memory_format=torch.channels_last)
    by_images, by_weight = ctx.needs_input_grad
    return (
        conv3x3_backward_images(dy, weight) if by_images else None,
        conv3x3_backward_weight(x, dy, weight) if by_weight else None,
    )


@operation(_backward, _keep_for_backward)
def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with stride 1 and padding 1.

    Args:
        x: `(B, in, H, W)` bfloat16 or float32 for which `can_take` holds.
        weight: `(out, in, 3, 3)` float32, of any strides.

    Returns:
        `(B, out, H, W)` like `x`. In bfloat16 transformed images and filters are rounded too;
        sums are float32. It has gradients, but no gradients of these.
    """
    return _convolve(x, weight.data_ptr(), weight.stride(), weight.shape[0])


@operation()
def conv3x3_backward_images(dy: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient by the images, `(B, in, H, W)`, from that by the result, `dy`.

    It is the convolution by the filters turned by 180 degrees, from `out` to `in` channels.
    """
    by_out, by_in, by_row, by_column = weight.stride()
    last = weight.data_ptr() + 2 * (by_row + by_column) * weight.element_size()
    return _convolve(dy, last, (by_in, by_out, -by_row, -by_column), weight.shape[1])


@operation()
def conv3x3_backward_weight(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient by the filters, `(out, in, 3, 3)` float32, from that by the result."""
    dweight = torch.empty_like(weight)
    pointers = (x.data_ptr(), dy.data_ptr(), dweight.data_ptr())
    _call("filter_gradient", x, dy.shape[1], pointers, dweight.stride())
    return dweight


def _convolve(x: Tensor, weight: int, strides: tuple[int, ...], out_channels: int) -> Tensor:
    num_images, _, height, width = x.shape
    y = torch.empty(
        (num_images, out_channels, height, width),
        dtype=x.dtype,
        memory_format=torch.channels_last,
    )
    _call("convolve", x, out_channels, (x.data_ptr(), weight, y.data_ptr()), strides)
    return y


def _call(
    name: str, x: Tensor, out_channels: int, pointers: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    kernels = library.load("convolution", *DEFINES[x.dtype])
    num_images, in_channels, height, width = x.shape
    room_of = getattr(kernels, f"{name}_room")
    room_of.restype = ctypes.c_int64
    num_threads = ctypes.c_int(torch.get_num_threads())
    sizes = (num_images, height, width, in_channels, out_channels)
    shape = tuple(ctypes.c_int64(size) for size in sizes)
    room = torch.empty(room_of(*shape, num_threads), dtype=torch.uint8)
    getattr(kernels, name)(
        *(ctypes.c_void_p(pointer) for pointer in (*pointers, room.data_ptr())),
        *shape,
        *(ctypes.c_int64(stride) for stride in strides),
        num_threads,
    )
