"""The paper's ConvNet (figure 1)."""

from torch import Tensor, nn

from sslbench.config import settings

IMAGE_SIZE = 96


class ConvNet(nn.Module):
    """`(B, 3, 96, 96)` -> `(B, 512)`: the sides go 96, 47, 23, 11, 5, 2; 128 * 2 * 2 = 512."""

    def __init__(self, config: settings.ConvNet) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 3, IMAGE_SIZE
        for _ in range(config.blocks):
            layers += [
                nn.Conv2d(channels, config.channels, kernel_size=3, stride=2),
                nn.ReLU(inplace=True),
                nn.Dropout2d(config.dropout),
            ]
            channels, side = config.channels, (side - 3) // 2 + 1
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.embedding_dim = channels * side * side

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
