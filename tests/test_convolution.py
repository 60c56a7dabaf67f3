"""The kernel of 3x3 convolutions, against torch in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbench.kernels import library
from sslbench.kernels.convolution import DEFINES, can_take, conv3x3
from sslbench.models.convolution import Conv3x3

TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 8e-3}

each_dtype = pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(
            dtype,
            marks=pytest.mark.skipif(
                library.load("convolution", *defines) is None,
                reason="no C compiler, or no processor that gains",
            ),
        )
        for dtype, defines in DEFINES.items()
    ],
    ids=str,
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(*shape, dtype=torch.float32, seed=0):
    return drawn(*shape, seed=seed).to(dtype).contiguous(memory_format=torch.channels_last)


def filters(out_channels, in_channels, *, channels_last=True):
    weight = drawn(out_channels, in_channels, 3, 3, seed=1) / (9 * in_channels) ** 0.5
    return weight.contiguous(memory_format=torch.channels_last) if channels_last else weight


def result_and_gradients(convolve, x, weight, dy):
    inputs = [tensor.clone().requires_grad_() for tensor in (x, weight)]
    y = convolve(*inputs)
    return (y, *torch.autograd.grad(y, inputs, dy))


@each_dtype
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "contiguous"])
@pytest.mark.parametrize(
    "shape",
    [
        (2, 32, 32, 8, 8),
        (3, 64, 32, 7, 5),
        (1, 32, 96, 9, 12),
        (5, 160, 64, 6, 6),
        (1, 32, 32, 1, 2),
    ],
    ids=str,
)
def test_results_and_gradients_are_those_of_torch(shape, channels_last, dtype):
    num_images, in_channels, out_channels, height, width = shape
    x = images(num_images, in_channels, height, width, dtype=dtype)
    dy = images(num_images, out_channels, height, width, dtype=dtype, seed=2)
    weight = filters(out_channels, in_channels, channels_last=channels_last)
    expected = result_and_gradients(
        lambda x, w: F.conv2d(x, w, padding=1), x.double(), weight.double(), dy.double()
    )
    found = result_and_gradients(conv3x3, x, weight, dy)
    assert found[0].dtype == dtype
    assert found[2].dtype == torch.float32
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.double() - theirs).norm() / theirs.norm() < TOLERANCES[dtype]


@pytest.mark.skipif(library.load("convolution") is None, reason="no processor that gains")
def test_sixteen_channels_are_half_a_step():
    x, dy, weight = images(2, 16, 8, 6), images(2, 48, 8, 6), filters(48, 16)
    expected = result_and_gradients(lambda x, w: F.conv2d(x, w, padding=1), x, weight, dy)
    for ours, theirs in zip(result_and_gradients(conv3x3, x, weight, dy), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@each_dtype
@pytest.mark.parametrize("threads", [1, 3, 64])
def test_repetition_gives_the_same_bits(threads, dtype):
    x, dy, weight = (
        images(3, 32, 9, 9, dtype=dtype),
        images(3, 32, 9, 9, dtype=dtype),
        filters(32, 32),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first, second = (result_and_gradients(conv3x3, x, weight, dy) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@each_dtype
def test_a_gradient_of_other_strides_is_taken(dtype):
    x, weight = images(2, 32, 8, 8, dtype=dtype), filters(32, 32)
    dy = images(2, 32, 8, 8, dtype=dtype, seed=2)
    found = result_and_gradients(conv3x3, x, weight, dy.contiguous())
    expected = result_and_gradients(conv3x3, x, weight, dy)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@each_dtype
def test_what_is_not_a_number_stays_so(dtype):
    x = images(2, 32, 8, 8, dtype=dtype)
    x[0, 5, 2, 3] = float("nan")
    y = conv3x3(x, filters(32, 32))
    assert y[0, :, 1:4, 2:5].isnan().all()
    assert not y[1].isnan().any()


@each_dtype
def test_the_module_is_a_convolution(dtype):
    ours, theirs = Conv3x3(64, 32), nn.Conv2d(64, 32, 3, padding=1, bias=False)
    ours.to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    x = images(2, 64, 8, 8)
    assert can_take(x.to(dtype), ours.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y, expected = ours(x), theirs(x)
    assert y.dtype == expected.dtype == dtype
    (y.float() ** 2).sum().backward()
    (expected.float() ** 2).sum().backward()
    for a, b in ((y, expected), (ours.weight.grad, theirs.weight.grad)):
        assert (a - b).norm() / b.norm() < 2 * TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("sides", "stride"),
    [((3, 3), 1), ((2, 3), 1), ((1, 1), 1), ((6, 5), 2), ((2, 6), 2), ((1, 4), 2)],
    ids=str,
)
def test_small_results_have_the_gradients_of_torch(sides, stride, dtype):
    y, *_ = agree_with_doubles(sides, stride, dtype)
    assert type(y.grad_fn).__name__ == "_SmallConvolutionBackward"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sides", [(5, 2), (5, 1), (1, 1)], ids=str)
def test_results_one_pixel_wide_by_strides_are_right(sides, dtype):
    for _ in range(3):  # the memory that torch may add here is zero at times
        agree_with_doubles(sides, 2, dtype)


def agree_with_doubles(sides, stride, dtype):
    """Compare result and gradients with torch's in double precision; return them."""
    x = images(4, 256, *sides, dtype=dtype)
    ours, weight = Conv3x3(256, 288, stride), filters(288, 256)
    ours.weight.data = weight
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = ours(x.requires_grad_())
    dy = images(*y.shape, dtype=dtype, seed=2)
    expected = result_and_gradients(
        lambda x, w: F.conv2d(x, w, stride=stride, padding=1),
        x.detach().double(),
        weight.double(),
        dy.double(),
    )
    found = (y, *torch.autograd.grad(y, (x, ours.weight), dy))
    assert found[2].dtype == torch.float32
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.double() - theirs).norm() / theirs.norm() < TOLERANCES[dtype]
    return found


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (images(2, 64, 8, 8), "channels"),
        (images(2, 24, 3, 3), "channels"),
        (images(2, 256, 3, 3).long(), "type"),
        (images(2, 256, 3, 3, dtype=torch.bfloat16), "type"),
        (drawn(3, 3), "3D .* or 4D"),
    ],
    ids=["other channels", "few channels", "integers", "bfloat16", "no images"],
)
def test_what_torch_refuses_is_refused(x, message):
    with pytest.raises(RuntimeError, match=message):
        Conv3x3(256, 256)(x)


def test_one_image_without_a_batch_is_taken():
    convolution, x = Conv3x3(256, 256), drawn(256, 3, 3).requires_grad_()
    y = convolution(x)
    torch.testing.assert_close(y, F.conv2d(x, convolution.weight, padding=1))
    y.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(("channels", "side"), [(32, 6), (256, 8)])
def test_other_strides_are_left_to_torch(channels, side):
    x, strided = images(2, channels, side, side), Conv3x3(channels, 256, stride=2)
    y = strided(x)
    torch.testing.assert_close(y, F.conv2d(x, strided.weight, stride=2, padding=1))
    assert type(y.grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (drawn(2, 32, 8, 8), filters(32, 32)),
        (images(2, 32, 8, 8, dtype=torch.float64), filters(32, 32)),
        (images(2, 32, 8, 8).to("meta"), filters(32, 32)),
        (images(2, 32, 3, 3), filters(32, 32)),
        (images(2, 24, 8, 8), filters(32, 24)),
        (images(2, 16, 8, 8, dtype=torch.bfloat16), filters(32, 16)),
        (images(2, 1024, 8, 8), filters(32, 1024)),
        (images(2, 32, 8, 8), filters(32, 32).double()),
        (images(2, 64, 8, 8), filters(32, 32)),
        (images(0, 32, 8, 8), filters(32, 32)),
    ],
    ids=[
        "contiguous",
        "double",
        "meta",
        "mostly padding",
        "24 channels",
        "16 in bfloat16",
        "1024 channels",
        "double filters",
        "filters of other channels",
        "no image",
    ],
)
def test_other_batches_are_left_to_torch(x, weight):
    assert not can_take(x, weight)


def test_without_a_compiler_torch_does_the_same(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    library.load.cache_clear()
    try:
        x, convolution = images(2, 32, 8, 8), Conv3x3(32, 32)
        assert not can_take(x, convolution.weight)
        expected = F.conv2d(x, convolution.weight, padding=1)
        torch.testing.assert_close(convolution(x), expected)
    finally:
        library.load.cache_clear()
