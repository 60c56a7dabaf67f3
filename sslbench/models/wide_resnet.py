"""The paper's WRN-45-2, and its family (Zagoruyko and Komodakis 2016)."""

import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config import settings
from sslbench.models.convolution import Conv3x3
from sslbench.models.norm import BatchNormAct


class BasicBlock(nn.Module):
    """BN - LeakyReLU - Conv, twice. A projected skip starts from the first activation.

    It takes and returns the two terms of a sum, skip and branch: the normalisation after the
    addition does it on its way.
    """

    def __init__(
        self, channels: int, width: int, stride: int, *, project: bool, config: settings.WideResNet
    ) -> None:
        super().__init__()
        self.bn1 = BatchNormAct(channels, 1e-5, config.bn_momentum, config.negative_slope)
        self.conv1 = Conv3x3(channels, width, stride)
        self.bn2 = BatchNormAct(width, 1e-5, config.bn_momentum, config.negative_slope)
        self.conv2 = Conv3x3(width, width)
        self.skip = nn.Conv2d(channels, width, 1, stride, bias=False) if project else None
        self.dropout = config.dropout

    def forward(self, x: Tensor, branch: Tensor | None) -> tuple[Tensor, Tensor]:
        if branch is None:
            activated = self.bn1(x)
        else:
            x, activated = self.bn1.of_sum(x, branch)
        skip = x if self.skip is None else self.skip(activated)
        out = self.bn2(self.conv1(activated))
        if self.dropout > 0:
            out = F.dropout(out, self.dropout, self.training)
        return skip, self.conv2(out)


class WideResNet(nn.Module):
    """`(B, 3, 96, 96)` -> `(B, widths[-1])`; WRN-45-2 has 1,877,904 parameters."""

    def __init__(self, config: settings.WideResNet) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, config.stem_width, 3, padding=1, bias=False)
        blocks: list[BasicBlock] = []
        channels = config.stem_width
        for width, stride in zip(config.widths, config.strides, strict=True):
            for index in range(config.blocks_per_stage):
                first = index == 0
                blocks.append(
                    BasicBlock(
                        channels, width, stride if first else 1, project=first, config=config
                    )
                )
                channels = width
        self.blocks = nn.ModuleList(blocks)
        self.bn = BatchNormAct(channels, 1e-5, config.bn_momentum, config.negative_slope)
        self.embedding_dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, config.negative_slope, mode="fan_out", nonlinearity="leaky_relu"
                )

    def forward(self, images: Tensor) -> Tensor:
        skip, branch = self.stem(images), None
        for block in self.blocks:
            skip, branch = block(skip, branch)
        _, out = self.bn.of_sum(skip, branch)
        return F.adaptive_avg_pool2d(out, 1).flatten(1)
