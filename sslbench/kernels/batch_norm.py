"""Batch normalisation and the activation after it, as one operation on the processor."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from sslbench.kernels import library

DEFINES = {torch.bfloat16: ("BF16",), torch.float32: ()}
ROOM_PER_CHANNEL = 2
MAX_CHANNELS = 4096
"""A thread keeps four numbers per channel on its stack."""


def can_take(x: Tensor) -> bool:
    """Whether the kernel takes a batch: in channels_last on a processor, where C is compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype in DEFINES
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > x.shape[1]  # one value has no deviation: torch says so
        and x.shape[1] <= MAX_CHANNELS
        and library.load("batch_norm", *DEFINES[x.dtype]) is not None
    )


@torch.library.custom_op("sslbench::batch_norm_act", mutates_args=(), device_types="cpu")
def batch_norm_act(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by the batch's statistics, scale and shift, then `max(z, slope * z)`.

    Args:
        x: `(B, C, H, W)` bfloat16 or float32 for which `can_take` holds.
        weight: `(C,)` float32, as `bias` is.
        slope: Of the activation below zero: 0 is ReLU, 1 none at all.

    Returns:
        The result, like `x`; the batch's mean and biased variance, `(C,)` float32.
    """
    y = torch.empty_like(x)
    mean, variance = torch.empty_like(weight), torch.empty_like(weight)
    _call("forward", x, (x, y, weight, bias, mean, variance), eps, slope)
    return y, mean, variance


@torch.library.custom_op("sslbench::batch_norm_act_backward", mutates_args=(), device_types="cpu")
def batch_norm_act_backward(
    x: Tensor,
    dy: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by x, weight and bias from that by the result, `dy` like `x`."""
    dx = torch.empty_like(x)
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    dy = dy.contiguous(memory_format=torch.channels_last)
    _call("backward", x, (x, dy, dx, weight, bias, mean, variance, dweight, dbias), eps, slope)
    return dx, dweight, dbias


def _call(name: str, x: Tensor, tensors: tuple[Tensor, ...], eps: float, slope: float) -> None:
    num_channels, num_threads = x.shape[1], torch.get_num_threads()
    room = torch.empty(num_threads * ROOM_PER_CHANNEL * num_channels, dtype=torch.float64)
    getattr(library.load("batch_norm", *DEFINES[x.dtype]), name)(
        *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (*tensors, room)),
        ctypes.c_int64(x.numel() // num_channels),
        ctypes.c_int64(num_channels),
        ctypes.c_float(eps),
        ctypes.c_float(slope),
        ctypes.c_int(num_threads),
    )


def _keep_for_backward(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, weight, bias, ctx.eps, ctx.slope = inputs
    _, mean, variance = output
    ctx.save_for_backward(x, weight, bias, mean, variance)


def _backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias, mean, variance = ctx.saved_tensors
    gradients = batch_norm_act_backward(x, dy, weight, bias, mean, variance, ctx.eps, ctx.slope)
    return (*gradients, None, None)


batch_norm_act.register_autograd(_backward, setup_context=_keep_for_backward)
