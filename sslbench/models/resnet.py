"""torchvision's ResNet-18 (He et al. 2016) as an encoder."""

import torch
from torch import Tensor, nn

from sslbench.config import settings
from sslbench.models.convolution import Conv3x3


class ResNet18(nn.Module):
    """`(B, 3, 96, 96)` -> `(B, 512)`; 11,176,512 parameters with the default stem."""

    embedding_dim = 512

    def __init__(self, config: settings.ResNet18) -> None:
        super().__init__()
        from torchvision.models.resnet import resnet18  # 2 s to import: only for this model

        network = resnet18(weights=None)
        network.fc = nn.Identity()
        if config.stem == "cifar":
            network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
            network.maxpool = nn.Identity()
        _replace_convolutions(network)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


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
