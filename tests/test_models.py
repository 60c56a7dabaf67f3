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
    skip, branch = block(images, None)
    torch.testing.assert_close(skip, expected)
    assert not branch.any()


def test_identity_skip_is_the_sum_of_skip_and_branch():
    block = BasicBlock(4, 4, 1, project=False, config=settings.WideResNet()).eval()
    images, before = torch.randn(2, 2, 4, 8, 8)
    skip, branch = block(images, before)
    assert torch.equal(skip, images + before)
    out = nn.functional.leaky_relu(nn.BatchNorm2d.forward(block.bn1, skip), 0.1)
    out = nn.functional.leaky_relu(nn.BatchNorm2d.forward(block.bn2, block.conv1(out)), 0.1)
    torch.testing.assert_close(branch, block.conv2(out))


def test_dropout_is_a_setting():
    torch.manual_seed(0)
    encoder = build(settings.WideResNet(blocks_per_stage=1, dropout=0.5)).train()
    images = torch.randn(2, 3, 96, 96)
    assert not torch.equal(encoder(images), encoder(images))


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"]
)
def test_resnet18_is_that_of_torchvision(memory_format):
    ours, theirs = build(CONFIGS["resnet18"]), torchvision_resnet18()
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.randn(4, 3, 64, 64).contiguous(memory_format=memory_format)
    for _ in range(2):
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-4, rtol=1e-4)
    results = [network(images).square().mean() for network in (ours, theirs)]
    for result in results:
        result.backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert (a.grad - b.grad).norm() < 1e-3 * b.grad.norm()
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        found, expected = ours.eval()(images), theirs.eval()(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_resnet18_starts_as_that_of_torchvision():
    torch.manual_seed(0)
    ours, theirs = build(CONFIGS["resnet18"]).network.state_dict(), torchvision_resnet18()
    expected = theirs.state_dict()
    assert list(ours) == list(expected)
    for name, value in expected.items():
        if value.dim() == 4:
            assert ours[name].mean().abs() < 0.05 * value.std()
            assert ours[name].std() / value.std() == pytest.approx(1, abs=0.05)
        else:
            assert torch.equal(ours[name], value)


def torchvision_resnet18():
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    network.fc = nn.Identity()
    return network


def test_resnet18_stems_differ_in_resolution():
    imagenet, cifar = build(CONFIGS["resnet18"]), build(CONFIGS["resnet18-cifar"])
    assert imagenet.network.conv1.stride == (2, 2)
    assert cifar.network.conv1.stride == (1, 1)
    assert not hasattr(cifar.network, "maxpool")
