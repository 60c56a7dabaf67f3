"""The paper's ConvNet (figure 1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import MOST_CHANNELS, below_one, positive, require

if TYPE_CHECKING:
    from torch import nn

MOST_BLOCKS = 6
"""As many as fit in images of 224 pixels."""


@dataclass
class ConvNet(Model):
    """Strided 3x3 convolutions without padding, flattened.

    Sides go 96, 47, 23, 11, 5, 2, which gives 128 * 2 * 2 = 512 features; images of 32 pixels take
    four blocks, those of 224 six.
    """

    name: str = "convnet"
    blocks: int = 5
    """Figure 1 prints five blocks, the text says four; only five give its 512 features."""
    channels: int = 128
    dropout: float = 0.0
    """Probability of Dropout2d after each ReLU."""

    def __post_init__(self) -> None:
        positive("model.blocks", self.blocks, MOST_BLOCKS)
        positive("model.channels", self.channels, MOST_CHANNELS)
        below_one("model.dropout", self.dropout)

    def require_side(self, side: int) -> None:
        fits = next(n for n in range(MOST_BLOCKS + 1) if _side_after(n + 1, side) < 1)
        rule = f"1 to {fits} fit in {side}x{side} images"
        require(self.blocks <= fits, "model.blocks", self.blocks, rule)

    def build(self, side: int = IMAGE_SIDE) -> "nn.Module":
        from torch import nn  # late: this is the default model, and `--help` composes it

        layers: list[nn.Module] = []
        channels = 3
        for _ in range(self.blocks):
            layers += [
                nn.Conv2d(channels, self.channels, kernel_size=3, stride=2),
                nn.ReLU(inplace=True),
                nn.Dropout2d(self.dropout),
            ]
            channels = self.channels
        encoder = nn.Sequential(*layers, nn.Flatten())
        encoder.embedding_dim = channels * _side_after(self.blocks, side) ** 2
        return encoder


def _side_after(blocks: int, side: int) -> int:
    for _ in range(blocks):
        side = (side - 3) // 2 + 1
    return side
