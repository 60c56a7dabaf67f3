"""The modules of wide residual networks."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


def build_norm_act(channels: int, momentum: float, negative_slope: float) -> nn.Module:
    """Batch normalisation, then LeakyReLU."""
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=momentum)
    return nn.Sequential(norm, nn.LeakyReLU(negative_slope, inplace=True))


class Projection(nn.Conv2d):
    """A 1x1 convolution of every `step`-th pixel.

    As a strided convolution torch corrupts memory in its backward pass on the CPU, where there are
    fewer than 16 inputs in channels_last format.
    """

    def __init__(self, channels: int, width: int, step: int) -> None:
        super().__init__(channels, width, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.step == 1 else x[:, :, :: self.step, :: self.step])


class BasicBlock(nn.Module):
    """BN - LeakyReLU - Conv, twice, plus a skip, which if projected starts from the activation."""

    def __init__(
        self, channels: int, width: int, stride: int, project: bool, dropout: float, norm: Callable
    ) -> None:
        super().__init__()
        self.act1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.act2 = norm(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.skip = Projection(channels, width, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act1(x)
        skip = x if self.skip is None else self.skip(activated)
        return self.conv2(self.dropout(self.act2(self.conv1(activated)))).add_(skip)


class WideResNetEncoder(nn.Module):
    """`(B, 3, side, side)` -> `(B, widths[-1])`."""

    def __init__(
        self,
        stem_width: int,
        widths: list[int],
        strides: list[int],
        blocks_per_stage: int,
        dropout: float,
        bn_momentum: float,
        negative_slope: float,
    ) -> None:
        super().__init__()
        norm_act = partial(build_norm_act, momentum=bn_momentum, negative_slope=negative_slope)
        block = partial(BasicBlock, dropout=dropout, norm=norm_act)
        self.stem = nn.Conv2d(3, stem_width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        channels = stem_width
        for width, stride in zip(widths, strides, strict=True):
            self.blocks.append(block(channels, width, stride, project=True))
            for _ in range(blocks_per_stage - 1):
                self.blocks.append(block(width, width, 1, project=False))
            channels = width
        self.act = norm_act(channels)
        self.embedding_dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, negative_slope, mode="fan_out", nonlinearity="leaky_relu"
                )

    def forward(self, images: Tensor) -> Tensor:
        out = self.act(self.blocks(self.stem(images)))
        return F.adaptive_avg_pool2d(out, 1).flatten(1)
