"""3x3 convolutions, as residual networks are made of."""

import torch
from torch import Tensor, nn

from sslbench.kernels.convolution import can_take, conv3x3


class Conv3x3(nn.Conv2d):
    """Conv2d of 3x3 filters with padding 1 and no bias.

    Parameters and their names are Conv2d's. With stride 1, on a processor, it takes less than half
    the products where that is faster; elsewhere it is torch's.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride != (1, 1) or x.device.type != "cpu":
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        return conv3x3(x, self.weight) if can_take(x, self.weight) else super().forward(x)
