"""The encoders, by the name that `model=` takes."""

from torch import nn

from sslbench.config import settings
from sslbench.models.convnet import ConvNet
from sslbench.models.resnet import ResNet18
from sslbench.models.wide_resnet import WideResNet

MODELS: dict[type[settings.Model], type[nn.Module]] = {
    settings.ConvNet: ConvNet,
    settings.ResNet18: ResNet18,
    settings.WideResNet: WideResNet,
}
