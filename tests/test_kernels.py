"""The kernel of batch normalisation and activation, against torch in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbench.kernels import library
from sslbench.kernels.batch_norm import batch_norm_act, can_take
from sslbench.models.norm import BatchNormAct

EPS = 1e-5
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}

needs_compiler = pytest.mark.skipif(
    library.load("batch_norm") is None, reason="there is no C compiler"
)


def images(shape, dtype, *, mean=0.0, scale=1.0):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale + mean
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)


def draw_parameters(channels):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(channels, generator=generator) + 0.5, torch.randn(
        channels, generator=generator
    )


def reference(x, dy, weight, bias, slope):
    """The result and the three gradients, by torch's operations in double precision."""
    inputs = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    z = F.batch_norm(inputs[0], None, None, *inputs[1:], training=True, eps=EPS)
    y = F.leaky_relu(z, slope)
    return y, torch.autograd.grad(y, inputs, dy.double())


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(5, 16, 9, 7), (6, 3, 1, 1), (3, 130, 4, 4)])
def test_results_and_gradients_are_those_of_torch(shape, slope, dtype):
    x, dy = images(shape, dtype, mean=0.3), images(shape, dtype).flip(0)
    weight, bias = draw_parameters(shape[1])
    expected, gradients = reference(x, dy, weight, bias, slope)
    inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    y, mean, variance = batch_norm_act(*inputs, EPS, slope)
    found = torch.autograd.grad(y, inputs, dy)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip((y, *found), (expected, *gradients), strict=True):
        error = (ours.double() - theirs).norm() / theirs.norm()
        assert error < TOLERANCES[dtype]
    torch.testing.assert_close(mean, x.float().mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        variance, x.float().var((0, 2, 3), unbiased=False), atol=1e-5, rtol=1e-4
    )


@needs_compiler
def test_a_large_mean_does_not_swallow_the_variance():
    x = images((8, 4, 16, 16), torch.float32, mean=1000.0, scale=0.1)
    _, _, variance = batch_norm_act(x, *draw_parameters(4), EPS, 0.1)
    expected = x.double().var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(variance.double(), expected, rtol=1e-4, atol=0)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_a_number_stays_so(dtype):
    x = images((2, 4, 8, 8), dtype)
    x[0, 1, 2, 3] = float("nan")
    y, _, _ = batch_norm_act(x, *draw_parameters(4), EPS, 0.0)
    assert y[:, 1].isnan().all()
    assert not y[:, [0, 2, 3]].isnan().any()


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3])
def test_repetition_gives_the_same_bits(threads):
    x, dy = images((7, 16, 11, 11), torch.bfloat16), images((7, 16, 11, 11), torch.bfloat16)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        weight, bias = draw_parameters(16)
        runs = []
        for _ in range(2):
            inputs = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
            y, *_ = batch_norm_act(*inputs, EPS, 0.1)
            runs.append((y, *torch.autograd.grad(y, inputs, dy)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@needs_compiler
def test_the_module_is_batch_norm_and_activation():
    x = images((4, 6, 5, 5), torch.float32, mean=2.0)
    joined, norm = BatchNormAct(6, momentum=0.3, negative_slope=0.1), nn.BatchNorm2d(6, EPS, 0.3)
    assert can_take(x)
    norm.load_state_dict(joined.state_dict())
    for _ in range(2):
        torch.testing.assert_close(joined(x), F.leaky_relu(norm(x), 0.1), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(joined.buffers(), norm.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(joined.eval()(x), F.leaky_relu(norm.eval()(x), 0.1))


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(2, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 3, 4, 4, device="meta").contiguous(memory_format=torch.channels_last),
        torch.zeros(1, 3, 1, 1),
    ],
    ids=["contiguous", "double", "meta", "one value"],
)
def test_other_batches_are_left_to_torch(x):
    assert not can_take(x)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"], ids=["none", "fails"])
def test_without_a_compiler_torch_does_the_same(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    try:
        x = images((4, 6, 5, 5), torch.float32)
        assert not can_take(x)
        y = BatchNormAct(6, negative_slope=0.1)(x)
        assert (y.mean((0, 2, 3)) > 0).all()
    finally:
        library.load.cache_clear()
    assert list(tmp_path.rglob("*.so")) == []
