"""The paper's ConvNet (figure 1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import MOST_CHANNELS, below_one, positive, require

if TYPE_CHECKING:
    from torch import nn


@dataclass
class ConvNet(Model):
    """Strided 3x3 convolutions without padding, flattened.

    Sides go 96, 47, 23, 11, 5, 2, which gives 128 * 2 * 2 = 512 features.
    """

    name: str = "convnet"
    blocks: int = 5
    """Figure 1 prints five blocks, the text says four; only five give its 512 features."""
    channels: int = 128
    dropout: float = 0.0
    """Probability of Dropout2d after each ReLU."""

    def __post_init__(self) -> None:
        require(1 <= self.blocks <= 5, "model.blocks", self.blocks, "1 to 5 fit in 96x96 images")
        positive("model.channels", self.channels, MOST_CHANNELS)
        below_one("model.dropout", self.dropout)

    def build(self) -> "nn.Module":
        from torch import nn  # late: this is the default model, and `--help` composes it

        layers: list[nn.Module] = []
        channels, side = 3, IMAGE_SIDE
        for _ in range(self.blocks):
            layers += [
                nn.Conv2d(channels, self.channels, kernel_size=3, stride=2),
                nn.ReLU(inplace=True),
                nn.Dropout2d(self.dropout),
            ]
            channels, side = self.channels, (side - 3) // 2 + 1
        encoder = nn.Sequential(*layers, nn.Flatten())
        encoder.embedding_dim = channels * side * side
        return encoder
