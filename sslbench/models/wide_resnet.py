"""The paper's WRN-45-2, and its family (Zagoruyko and Komodakis 2016)."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.config.parts import Model
from sslbench.config.ranges import fraction, not_negative, positive, require


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
        for name in ("stem_width", "blocks_per_stage"):
            positive(f"model.{name}", getattr(self, name))
        for name in ("widths", "strides"):
            values = getattr(self, name)
            require(min(values) >= 1, f"model.{name}", values, "each must be at least 1")
        fraction("model.dropout", self.dropout)
        fraction("model.bn_momentum", self.bn_momentum)
        not_negative("model.negative_slope", self.negative_slope)

    def build(self) -> nn.Module:
        return WideResNetEncoder(self)


class NormAct(nn.Sequential):
    """Batch normalisation, then LeakyReLU."""

    def __init__(self, channels: int, config: WideResNet) -> None:
        super().__init__(
            nn.BatchNorm2d(channels, eps=1e-5, momentum=config.bn_momentum),
            nn.LeakyReLU(config.negative_slope, inplace=True),
        )


class Projection(nn.Conv2d):
    """A 1x1 convolution of every `step`-th pixel.

    As a strided convolution torch corrupts memory in its backward pass on the CPU, where there are
    fewer than 16 inputs in channels_last format.
    """

    def __init__(self, channels: int, width: int, step: int) -> None:
        super().__init__(channels, width, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.step, :: self.step])


class BasicBlock(nn.Module):
    """BN - LeakyReLU - Conv, twice, plus a skip, which if projected starts from the activation."""

    def __init__(
        self, channels: int, width: int, stride: int, *, project: bool, config: WideResNet
    ) -> None:
        super().__init__()
        self.act1 = NormAct(channels, config)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.act2 = NormAct(width, config)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.skip = Projection(channels, width, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act1(x)
        skip = x if self.skip is None else self.skip(activated)
        return skip + self.conv2(self.dropout(self.act2(self.conv1(activated))))


class WideResNetEncoder(nn.Module):
    """`(B, 3, side, side)` -> `(B, widths[-1])`."""

    def __init__(self, config: WideResNet) -> None:
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
        self.blocks = nn.Sequential(*blocks)
        self.act = NormAct(channels, config)
        self.embedding_dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, config.negative_slope, mode="fan_out", nonlinearity="leaky_relu"
                )

    def forward(self, images: Tensor) -> Tensor:
        out = self.act(self.blocks(self.stem(images)))
        return F.adaptive_avg_pool2d(out, 1).flatten(1)
