"""The paper's WRN-45-2, and its family (Zagoruyko and Komodakis 2016)."""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from sslbench.config.data import LARGEST_SIDE
from sslbench.config.durations import slow_average
from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import (
    MOST_CHANNELS,
    all_positive,
    below_one,
    fraction,
    positive,
    require,
)

if TYPE_CHECKING:
    from torch import nn


@dataclass
class WideResNet(Model):
    """Pre-activation wide residual network with a 1x1 skip in each stage's first block.

    WRN-45-2 has 1,877,904 parameters and 128 features.
    """

    name: str = "wrn45_2"
    stem_width: int = 16
    widths: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    strides: list[int] = field(default_factory=lambda: [1, 2, 2, 2])
    blocks_per_stage: int = 5
    dropout: float = 0.0
    """Probability of dropout between a block's two convolutions."""
    bn_momentum: float = 0.001
    """Share of the new batch in BatchNorm's running statistics (PyTorch's sense). The other
    reading of "momentum 0.001" is 0.999 in that sense."""
    negative_slope: float = 0.1

    def __post_init__(self) -> None:
        require(
            len(self.widths) == len(self.strides) > 0,
            "model.widths",
            self.widths,
            f"needs one stride per stage; model.strides={self.strides}",
        )
        positive("model.stem_width", self.stem_width, MOST_CHANNELS)
        positive("model.blocks_per_stage", self.blocks_per_stage, 64)
        all_positive("model.widths", self.widths, MOST_CHANNELS, longest=16)
        all_positive("model.strides", self.strides, LARGEST_SIDE, longest=16)
        below_one("model.dropout", self.dropout)
        fraction("model.bn_momentum", self.bn_momentum)
        fraction("model.negative_slope", self.negative_slope)

    def too_slow(self, num_steps: int) -> list[str]:
        return slow_average("model.bn_momentum", 1 - self.bn_momentum, num_steps, is_momentum=True)

    def require_side(self, side: int) -> None:
        rule = f"must each be at most data.side={side}"
        require(max(self.strides) <= side, "model.strides", self.strides, rule)

    def build(self, side: int = IMAGE_SIDE) -> "nn.Module":
        from sslbench.models.wide_resnet_encoder import WideResNetEncoder

        names = [it.name for it in fields(WideResNet) if it.name != "name"]  # not a subclass's own
        return WideResNetEncoder(**{name: getattr(self, name) for name in names})
