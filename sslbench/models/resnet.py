"""ResNet-18 (He et al. 2016), as torchvision builds and names it."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config import settings
from sslbench.models.convolution import Conv3x3
from sslbench.models.norm import BatchNormAct

WIDTHS, BLOCKS_PER_STAGE = (64, 128, 256, 512), 2


class BasicBlock(nn.Module):
    """Conv - BN - ReLU - Conv - BN, plus the skip, ReLU. A skip of another shape is projected."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(channels, width, stride)
        self.bn1 = BatchNormAct(width, negative_slope=0.0)
        self.conv2 = Conv3x3(width, width)
        self.bn2 = BatchNormAct(width, negative_slope=0.0)
        self.downsample = None
        if stride != 1 or channels != width:
            projection = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, BatchNormAct(width))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.bn1(self.conv1(x)))
        return self.bn2.plus(out, x if self.downsample is None else self.downsample(x))


class ResNet18(nn.Module):
    """`(B, 3, 96, 96)` -> `(B, 512)`; 11,176,512 parameters with the default stem."""

    embedding_dim = WIDTHS[-1]

    def __init__(self, config: settings.ResNet18) -> None:
        super().__init__()
        layers = _imagenet_stem() if config.stem == "imagenet" else _cifar_stem()
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            blocks = []
            for index in range(BLOCKS_PER_STAGE):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(BasicBlock(channels, width, stride))
                channels = width
            layers[f"layer{stage}"] = nn.Sequential(*blocks)
        self.network = nn.Sequential(layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.network(images), 1).flatten(1)


def _imagenet_stem() -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False),
        bn1=BatchNormAct(WIDTHS[0], negative_slope=0.0),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )


def _cifar_stem() -> OrderedDict[str, nn.Module]:
    """A stem that keeps the resolution, as for small images."""
    return OrderedDict(
        conv1=nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False),
        bn1=BatchNormAct(WIDTHS[0], negative_slope=0.0),
    )
