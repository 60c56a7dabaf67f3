"""Encoders: their formulas, their published sizes, and their way out of this package."""

import subprocess
import sys
from functools import partial

import pytest
import torch
import torchvision
from helpers.cells import choices, compose, generator
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from sslbench.models.convnet import ConvNet
from sslbench.models.resnet import ResNet18
from sslbench.models.wide_resnet import WideResNet
from sslbench.models.wide_resnet_encoder import BasicBlock, Projection, build_norm_act

SIZES = {
    "convnet": (593_920, 512),
    "resnet18": (11_176_512, 512),
    "wrn45_2": (1_877_904, 128),
    "wrn37_2": (5_926_864, 256),
}


def build(config, seed=0):
    torch.manual_seed(seed)
    return config.build()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def embed(encoder, images):
    with torch.no_grad():
        return encoder.eval()(images)


@pytest.mark.parametrize("model", choices("model"))
def test_every_model_says_how_wide_its_embeddings_are_and_has_its_published_size(model):
    encoder = build(compose(f"model={model}").model)
    embeddings = embed(encoder, noise(2, 3, 96, 96))
    assert embeddings.shape == (2, encoder.embedding_dim)
    assert embeddings.isfinite().all()
    found = sum(weights.numel() for weights in encoder.parameters()), encoder.embedding_dim
    assert found == SIZES.get(model, found)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_resnet18s_weights_load_into_other_libraries_as_they_are(library):
    if library == "timm":
        theirs = pytest.importorskip("timm").create_model("resnet18", num_classes=0)
    else:
        theirs = torchvision.models.resnet18(weights=None)
        theirs.fc = nn.Identity()
    ours, images = build(ResNet18()), noise(4, 3, 96, 96)
    ours(images)  # running statistics of its own
    theirs.load_state_dict(ours.state_dict())
    assert_close(embed(ours, images), embed(theirs, images), atol=1e-5, rtol=1e-5)


def test_resnet18s_cifar_stem_keeps_the_resolution():
    encoder, sides = build(ResNet18(stem="cifar")), []
    encoder.layer1.register_forward_pre_hook(lambda _, of: sides.append(of[0].shape[-1]))
    assert embed(encoder, noise(2, 3, 96, 96)).shape == (2, 512)
    assert sides == [96]


class TestWideResNet:
    @pytest.mark.parametrize("project", [True, False])
    def test_a_block_is_its_formula(self, project):
        norm_act = partial(build_norm_act, momentum=0.1, negative_slope=0.1)
        block = BasicBlock(4, 4, 1, project, 0.0, norm_act).eval()
        images = noise(2, 4, 8, 8)
        unit = 1 / (1 + 1e-5) ** 0.5  # of BatchNorm that has seen nothing
        activated = F.leaky_relu(images * unit, 0.1)
        branch = F.conv2d(activated, block.conv1.weight, padding=1)
        branch = F.conv2d(F.leaky_relu(branch * unit, 0.1), block.conv2.weight, padding=1)
        skip = F.conv2d(activated, block.skip.weight) if project else images
        assert_close(block(images.clone()), skip + branch)

    @pytest.mark.parametrize("side", [8, 9])
    def test_its_strided_skip_is_a_strided_convolution(self, side):
        skip, images = Projection(16, 5, 2), noise(2, 16, side, side).requires_grad_()
        found, expected = skip(images), F.conv2d(images, skip.weight, stride=2)
        assert_close(found, expected)
        assert_close(
            *(torch.autograd.grad(it.square().sum(), images)[0] for it in (found, expected))
        )

    @pytest.mark.slow
    def test_few_channels_in_channels_last_train_without_a_crash(self):
        code = """
import torch
from sslbench.models.wide_resnet import WideResNet
encoder = WideResNet(widths=[8, 16, 32, 64]).build().to(memory_format=torch.channels_last)
for _ in range(3):
    images = torch.randn(8, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    encoder(images).square().mean().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.01).step()
"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_dropout_is_a_setting(self):
        encoder, images = build(WideResNet(blocks_per_stage=1, dropout=0.5)), noise(2, 3, 32, 32)
        assert not torch.equal(encoder(images), encoder(images))


@pytest.fixture(
    scope="module",
    params=[ConvNet(), ResNet18(), WideResNet(blocks_per_stage=1)],
    ids=lambda it: it.name,
)
def trained(request):
    """An encoder whose BatchNorm has seen images, and its settings."""
    encoder = build(request.param)
    encoder(noise(4, 3, 96, 96, seed=1))
    return encoder.eval(), request.param


def by_export(encoder, config, folder, images):
    return torch.export.export(encoder, (images[:2],)).module()(images[:2])


def by_trace(encoder, config, folder, images):
    torch.jit.trace(encoder, images[2:]).save(folder / "encoder.pt")
    return torch.jit.load(folder / "encoder.pt")(images[:2])


def by_safetensors(encoder, config, folder, images):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(encoder.state_dict(), folder / "encoder.safetensors")
    again = build(config, seed=1)
    again.load_state_dict(safetensors.load_file(folder / "encoder.safetensors"))
    return embed(again, images[:2])


def by_onnx(encoder, config, folder, images):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.onnx.export(encoder, (images[:2],), folder / "encoder.onnx", dynamo=True)
    session = runtime.InferenceSession(folder / "encoder.onnx")
    [found] = session.run(None, {session.get_inputs()[0].name: images[:2].numpy()})
    return torch.from_numpy(found)


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "way", [by_export, by_trace, by_safetensors, pytest.param(by_onnx, marks=pytest.mark.slow)]
)
def test_what_leaves_gives_the_embeddings_that_it_gives_here(way, trained, tmp_path):
    encoder, config = trained
    images = noise(4, 3, 96, 96, seed=2)
    found = way(encoder, config, tmp_path, images)
    assert_close(found.detach(), embed(encoder, images[:2]), atol=1e-4, rtol=1e-4)
