import pytest
import torch
from torch import nn

from sslbench.config import settings
from sslbench.models import MODELS
from sslbench.models.wide_resnet import BasicBlock

WRN37_2 = settings.WideResNet(name="wrn37_2", widths=[32, 64, 128, 256], blocks_per_stage=4)
CONFIGS = {
    "convnet": settings.ConvNet(),
    "resnet18": settings.ResNet18(),
    "resnet18-cifar": settings.ResNet18(stem="cifar"),
    "wrn45_2": settings.WideResNet(),
    "wrn37_2": WRN37_2,
}


def build(config):
    torch.manual_seed(0)
    return MODELS[type(config)](config)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_model_keeps_the_contract(config):
    encoder = build(config).train()
    embeddings = encoder(torch.randn(2, 3, 96, 96))
    assert embeddings.shape == (2, encoder.embedding_dim)
    assert torch.isfinite(embeddings).all()
    embeddings.square().sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("name", "parameters", "dim"),
    [
        ("convnet", 593_920, 512),
        ("resnet18", 11_176_512, 512),
        ("wrn45_2", 1_877_904, 128),
        ("wrn37_2", 5_926_864, 256),
    ],
)
def test_parameter_counts_are_the_published_ones(name, parameters, dim):
    encoder = build(CONFIGS[name])
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    assert encoder.embedding_dim == dim


def test_convnet_sides_shrink_as_in_figure_1():
    sides, images = [], torch.randn(1, 3, 96, 96)
    for layer in build(settings.ConvNet()).layers:
        images = layer(images)
        if isinstance(layer, nn.Conv2d):
            sides.append(images.shape[-1])
    assert sides == [47, 23, 11, 5, 2]


def test_convnet_blocks_and_channels_change_the_embedding():
    assert build(settings.ConvNet(blocks=4)).embedding_dim == 128 * 5 * 5
    assert build(settings.ConvNet(channels=8)).embedding_dim == 8 * 2 * 2


def test_wrn45_2_counts_45_convolutions_and_projects_in_each_first_block():
    encoder = build(settings.WideResNet())
    assert sum(isinstance(m, nn.Conv2d) for m in encoder.modules()) == 45
    projected = [b.skip is not None for b in encoder.modules() if isinstance(b, BasicBlock)]
    assert projected == [True, False, False, False, False] * 4
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.001}


def test_projected_skip_starts_from_the_activated_tensor():
    config = settings.WideResNet()
    block = BasicBlock(4, 4, 1, project=True, config=config).eval()
    nn.init.zeros_(block.conv2.weight)
    nn.init.dirac_(block.skip.weight)
    images = torch.randn(2, 4, 8, 8)
    normalized = nn.BatchNorm2d.forward(block.bn1, images)
    expected = nn.functional.leaky_relu(normalized, 0.1)
    torch.testing.assert_close(block(images), expected)


def test_identity_skip_starts_from_the_input():
    block = BasicBlock(4, 4, 1, project=False, config=settings.WideResNet()).eval()
    nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block(images), images)


def test_dropout_is_a_setting():
    torch.manual_seed(0)
    encoder = build(settings.WideResNet(blocks_per_stage=1, dropout=0.5)).train()
    images = torch.randn(2, 3, 96, 96)
    assert not torch.equal(encoder(images), encoder(images))


def test_resnet18_stems_differ_in_resolution():
    imagenet, cifar = build(CONFIGS["resnet18"]), build(CONFIGS["resnet18-cifar"])
    assert imagenet.network.conv1.stride == (2, 2)
    assert cifar.network.conv1.stride == (1, 1)
    assert isinstance(cifar.network.maxpool, nn.Identity)
