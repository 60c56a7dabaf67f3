"""torchvision's ResNet-18 (He et al. 2016) as an encoder."""

from torch import Tensor, nn

from sslbench.config import settings


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
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)
