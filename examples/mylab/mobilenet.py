"""MobileNetV3 (Howard et al. 2019): torchvision's, without its classifier."""

from dataclasses import dataclass

from torch import nn
from torchvision.models import mobilenet_v3_small

from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import positive


@dataclass
class MobileNet(Model):
    """The small one: 576 features."""

    name: str = "mobilenet"
    width: float = 1.0
    """Times as many channels in each layer."""

    def __post_init__(self) -> None:
        positive("model.width", self.width)

    def build(self, side: int = IMAGE_SIDE) -> nn.Module:
        encoder = mobilenet_v3_small(weights=None, width_mult=self.width)
        encoder.embedding_dim = encoder.classifier[0].in_features
        encoder.classifier = nn.Identity()
        return encoder
