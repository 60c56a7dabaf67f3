"""3x3 convolutions, as residual networks are made of."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.kernels.convolution import can_take, conv3x3
from sslbench.kernels.operation import operation

SMALL_SIDE, MANY_CHANNELS = 3, 256
"""Up to this side of a result, from these channels on, products are faster for the filters."""


class Conv3x3(nn.Conv2d):
    """Conv2d of 3x3 filters with padding 1 and no bias.

    Parameters and their names are Conv2d's. On a processor it takes faster ways where there are
    any: a kernel with fewer products for stride 1, which has first gradients only, and products of
    matrices for the gradient by the filters where results are small.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        dtype = self._computed_in(x)
        if dtype is None:
            return super().forward(x)
        if dtype == torch.bfloat16 and self._is_wrong_in_bf16(x):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(dtype)
        x = x.to(dtype)
        if self.stride == (1, 1) and can_take(x, self.weight):
            return conv3x3(x, self.weight)
        if self._is_small(x):
            return _SmallConvolution.apply(x, self.weight.to(dtype), self.stride[0])
        return super().forward(x)

    def _computed_in(self, x: Tensor) -> torch.dtype | None:
        """Return the type that autocast asks for, if it is on; None for what is torch's to do."""
        if x.device.type != "cpu" or x.dim() != 4 or x.shape[1] != self.in_channels:
            return None
        in_autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if in_autocast else torch.float32
        known = x.dtype in (torch.float32, dtype) and self.weight.dtype == torch.float32
        return dtype if known else None

    def _is_wrong_in_bf16(self, x: Tensor) -> bool:
        """Whether results are one pixel wide, by strides.

        By a processor's matrix units (AMX) torch 2.14 then adds memory that was never written, to
        the result or to the gradient by the filters.
        """
        return x.shape[3] <= self.stride[1] > 1

    def _is_small(self, x: Tensor) -> bool:
        side = SMALL_SIDE * self.stride[0]
        channels = min(self.in_channels, self.out_channels)
        return max(x.shape[2:]) <= side and channels >= MANY_CHANNELS


class _SmallConvolution(torch.autograd.Function):
    """A convolution whose gradient by the filters is nine products, one for each of their places.

    Each multiplies the pixels that a place meets with the results' gradients, over all images;
    padding is left out, which is 40 % of a 3x3 result's products.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, padding=1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            geometry = ([ctx.stride] * 2, [1, 1], [1, 1], False, [0, 0], 1)
            dx, _, _ = torch.ops.aten.convolution_backward(
                dy, x, weight, None, *geometry, [True, False, False]
            )
        if ctx.needs_input_grad[1]:
            dweight = conv3x3_filter_products(x, dy, ctx.stride)
        return dx, dweight, None


@operation()
def conv3x3_filter_products(x: Tensor, dy: Tensor, stride: int) -> Tensor:
    """Return the gradient by 3x3 filters, padding 1, as nine products.

    Args:
        x: `(B, in, H, W)`, the images.
        dy: `(B, out, h, w)`, the gradient by the result.

    Returns:
        `(out, in, 3, 3)` in channels_last format, of `x`'s type.
    """
    pixels, gradients = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    result = x.new_empty(dy.shape[1], 3, 3, x.shape[1])
    for i in range(3):
        rows, result_rows = _meeting(i, x.shape[2], dy.shape[2], stride)
        for j in range(3):
            columns, result_columns = _meeting(j, x.shape[3], dy.shape[3], stride)
            met = pixels[:, rows, columns].flatten(0, 2)
            result[:, i, j] = gradients[:, result_rows, result_columns].flatten(0, 2).T @ met
    return result.permute(0, 3, 1, 2)


def _meeting(place: int, num_pixels: int, num_results: int, stride: int) -> tuple[slice, slice]:
    """Return the pixels that a place of the filter meets along a side, and for which results.

    Result r meets pixel `stride * r + place - 1`, where that is no padding.
    """
    met = [r for r in range(num_results) if 0 <= stride * r + place - 1 < num_pixels]
    if not met:
        return slice(0), slice(0)
    first = stride * met[0] + place - 1
    last = stride * met[-1] + place - 1
    return slice(first, last + 1, stride), slice(met[0], met[-1] + 1)
