"""ResNet-18 (He et al. 2016; paper, figure 3): torchvision's, without its classifier."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import one_of

if TYPE_CHECKING:
    from torch import nn


@dataclass
class ResNet18(Model):
    """11,176,512 parameters with the default stem, 512 features."""

    name: str = "resnet18"
    stem: str = "imagenet"
    """`imagenet`: 7x7 stride 2 and max-pool, as torchvision has it. The other reading, `cifar`, is
    figure 3's drawing: 3x3 stride 1 and no max-pool."""

    def __post_init__(self) -> None:
        one_of("model.stem", self.stem, ("imagenet", "cifar"))

    def as_timm(self, encoder: "nn.Module") -> "nn.Module":
        if self.stem != "imagenet":
            return super().as_timm(encoder)
        from timm import create_model

        theirs = create_model("resnet18", num_classes=0)
        theirs.load_state_dict(encoder.state_dict())
        return theirs

    def build(self, side: int = IMAGE_SIDE) -> "nn.Module":
        from torch import nn
        from torchvision.models import resnet18  # takes a second to import

        encoder = resnet18(weights=None)
        encoder.embedding_dim = encoder.fc.in_features
        encoder.fc = nn.Identity()
        if self.stem == "cifar":
            encoder.conv1 = nn.Conv2d(3, encoder.conv1.out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
            encoder.maxpool = nn.Identity()
        return encoder
