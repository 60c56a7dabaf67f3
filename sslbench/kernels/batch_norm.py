"""Batch normalisation, the activation after it and additions around it, as one operation."""

import ctypes
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sslbench.kernels import library
from sslbench.kernels.operation import operation

DEFINES = {torch.bfloat16: ("BF16",), torch.float32: ()}
CHANNEL_MULTIPLE, MAX_CHANNELS = 16, 4096
"""A thread keeps four numbers per channel on its stack."""
ROOM_PER_CHANNEL = 2


def can_take(x: Tensor, of_channels: Iterable[Tensor], *added: Tensor | None) -> bool:
    """Whether the kernel takes a batch: in channels_last on a processor, where C is compiled.

    Args:
        x: The images, `(B, C, H, W)`.
        of_channels: Parameters and statistics, which must be `(C,)` float32.
        added: Tensors that must be like `x`.
    """
    return (
        x.device.type == "cpu"
        and x.dtype in DEFINES
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.numel() > x.shape[1]  # one value has no deviation: torch says so
        and x.shape[1] % CHANNEL_MULTIPLE == 0
        and x.shape[1] <= MAX_CHANNELS
        and all(_is_of_channels(tensor, x) for tensor in of_channels)
        and all(_is_like(tensor, x) for tensor in added if tensor is not None)
        and library.load("batch_norm", *DEFINES[x.dtype]) is not None
    )


def _is_of_channels(tensor: Tensor, x: Tensor) -> bool:
    return (
        tensor.device == x.device
        and tensor.dtype == torch.float32
        and tensor.shape == x.shape[1:2]
        and tensor.is_contiguous()
    )


def _is_like(tensor: Tensor, x: Tensor) -> bool:
    return (
        tensor.device == x.device
        and tensor.dtype == x.dtype
        and tensor.shape == x.shape
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _keep_for_backward(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, before, after, weight, bias, ctx.eps, ctx.slope = inputs
    joined, y, mean, variance = output
    ctx.is_sum, ctx.is_added_to = before is not None, after is not None
    normalized, result = joined if ctx.is_sum else x, y if ctx.is_added_to else None
    ctx.save_for_backward(normalized, result, weight, bias, mean, variance)
    ctx.mark_non_differentiable(mean, variance)
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, passed: Tensor | None, dy: Tensor | None, *_: Tensor | None
) -> tuple[Tensor | None, ...]:
    x, y, *parameters = ctx.saved_tensors
    passed = passed if ctx.is_sum else None
    if dy is None:
        return passed, passed, *[None] * 5
    dx, dafter, dweight, dbias = batch_norm_act_backward(
        x, dy, y, passed, *parameters, ctx.eps, ctx.slope
    )
    dbefore = dx if ctx.is_sum else None
    return dx, dbefore, dafter if ctx.is_added_to else None, dweight, dbias, None, None


@operation(_backward, _keep_for_backward)
def batch_norm_act(
    x: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise `x + before` by the batch, scale and shift, add `after`; then `max(z, slope * z)`.

    Args:
        x: `(B, C, H, W)` bfloat16 or float32 for which `can_take` holds.
        before: Like `x`, or None.
        after: Like `x`, or None.
        weight: `(C,)` float32, as `bias` is.
        slope: Of the activation below zero: 0 is ReLU, but for an infinite z, which becomes NaN;
            1 is none at all.

    Returns:
        `x + before`, like `x` (empty without `before`); the result, like `x`; the batch's mean and
        biased variance, `(C,)` float32.
    """
    mean, variance = torch.empty_like(weight), torch.empty_like(weight)
    room = _room(x)
    joined, y = _normalize(x, before, after, weight, bias, mean, variance, room, eps, slope)
    return joined, y, mean, variance


@operation()
def normalize_act(
    x: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    """Return `batch_norm_act`'s first two by a known `mean` and `variance`, `(C,)` float32 each."""
    return _normalize(x, before, after, weight, bias, mean, variance, None, eps, slope)


@operation()
def batch_norm_act_backward(
    x: Tensor,
    dy: Tensor,
    y: Tensor | None,
    passed: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients from that by the result, `dy` like `x`.

    Args:
        x: What was normalised: the sum, where there was one.
        y: The result, where something was added after the normalisation, else None.
        passed: The gradient by `x` of what else it is used for, like `x`, or None.

    Returns:
        The gradients by `x`, with `passed`, and by `after` (empty without `y`), like `x`; by weight
        and bias.
    """
    dx, dafter = torch.empty_like(x), x.new_empty(0) if y is None else torch.empty_like(x)
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    dy, passed = _channels_last(dy), _channels_last(passed)
    tensors = (x, dy, y, passed, dx, dafter, weight, bias, mean, variance, dweight, dbias, _room(x))
    _call("backward", x, tensors, eps, slope)
    return dx, dafter, dweight, dbias


def _normalize(
    x: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    room: Tensor | None,
    eps: float,
    slope: float,
) -> tuple[Tensor, Tensor]:
    y, joined = torch.empty_like(x), x.new_empty(0) if before is None else torch.empty_like(x)
    tensors = (x, before, joined, after, y, weight, bias, mean, variance, room)
    _call("forward", x, tensors, eps, slope)
    return joined, y


def _room(x: Tensor) -> Tensor:
    return x.new_empty(torch.get_num_threads() * ROOM_PER_CHANNEL * x.shape[1], dtype=torch.float64)


def _channels_last(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.contiguous(memory_format=torch.channels_last)


def _call(
    name: str, x: Tensor, tensors: tuple[Tensor | None, ...], eps: float, slope: float
) -> None:
    num_channels = x.shape[1]
    getattr(library.load("batch_norm", *DEFINES[x.dtype]), name)(
        *(ctypes.c_void_p(t if t is None else t.data_ptr()) for t in tensors),
        ctypes.c_int64(x.numel() // num_channels),
        ctypes.c_int64(num_channels),
        ctypes.c_float(eps),
        ctypes.c_float(slope),
        ctypes.c_int(torch.get_num_threads()),
    )
