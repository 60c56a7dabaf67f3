"""torchvision's ResNet-18 (He et al. 2016) as an encoder."""

from typing import Any

import torch
from torch import Tensor, nn

from sslbench.config import settings
from sslbench.models.convolution import Conv3x3
from sslbench.models.norm import BatchNormAct


class ResNet18(nn.Module):
    """`(B, 3, 96, 96)` -> `(B, 512)`; 11,176,512 parameters with the default stem."""

    embedding_dim = 512

    def __init__(self, config: settings.ResNet18) -> None:
        super().__init__()
        network = _build_network()
        network.fc = nn.Identity()
        if config.stem == "cifar":
            network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()
        _replace_convolutions(network)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def _build_network() -> nn.Module:
    """torchvision's network, by its names, of blocks that normalise, add and rectify at once."""
    from torchvision.models.resnet import BasicBlock, ResNet  # slow: only for this model

    class Block(BasicBlock):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.bn1.negative_slope = self.bn2.negative_slope = 0.0
            self.relu = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv2(self.bn1(self.conv1(x)))
            return self.bn2.plus(out, x if self.downsample is None else self.downsample(x))

    network = ResNet(Block, [2, 2, 2, 2], norm_layer=BatchNormAct)
    network.bn1.negative_slope = 0.0
    network.relu = nn.Identity()
    return network


def _replace_convolutions(module: nn.Module) -> None:
    """Let `Conv3x3` do the 3x3 convolutions, by the same weights."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3):
            with torch.device("meta"):  # no weights are drawn
                ours = Conv3x3(child.in_channels, child.out_channels, child.stride[0])
            ours.weight = child.weight
            setattr(module, name, ours)
        else:
            _replace_convolutions(child)
