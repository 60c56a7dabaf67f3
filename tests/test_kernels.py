"""The kernel of batch normalisation and activation, against torch in double precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbench.kernels import library
from sslbench.kernels.batch_norm import batch_norm_act, can_take, normalize_act
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


def normalize_doubles(x, before, after, weight, bias, slope, statistics=(None, None)):
    joined = x if before is None else x + before
    training = statistics[0] is None
    z = F.batch_norm(joined, *statistics, weight, bias, training=training, eps=EPS)
    z = z if after is None else z + after
    return joined, F.leaky_relu(z, slope)


def doubles(tensors):
    return [None if t is None else t.double().detach().requires_grad_() for t in tensors]


def relative_error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def draw_inputs(shape, dtype, additions):
    """x, what is added before and after, weight and bias; sums of the first two are exact."""
    x = images(shape, dtype, mean=0.3)
    x = (x * 16).round().clamp(-64, 64) / 16
    before = x.flip(1) if "before" in additions else None
    after = images(shape, dtype, scale=0.5).flip(2) if "after" in additions else None
    return x, before, after, *draw_parameters(shape[1])


@needs_compiler
@pytest.mark.parametrize("additions", ["", "before", "after", "before after"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(5, 16, 9, 7), (6, 48, 1, 1), (3, 128, 4, 4), (40, 32, 5, 5)])
def test_results_and_gradients_are_those_of_torch(shape, slope, dtype, additions):
    tensors = draw_inputs(shape, dtype, additions)
    inputs = [None if t is None else t.clone().requires_grad_() for t in tensors]
    expected_inputs = doubles(tensors)
    joined, y, mean, variance = batch_norm_act(*inputs, EPS, slope)
    expected_joined, expected = normalize_doubles(*expected_inputs, slope)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)

    dy, passed = images(shape, dtype).flip(0), images(shape, dtype).flip(3)
    results, gradients = [y], [dy]
    if "before" in additions:
        assert relative_error(joined, expected_joined) < TOLERANCES[dtype]
        results, gradients = [joined, y], [passed, dy]
    expected_results = [expected_joined, expected][-len(results) :]
    found = torch.autograd.grad(results, [t for t in inputs if t is not None], gradients)
    theirs = torch.autograd.grad(
        expected_results,
        [t for t in expected_inputs if t is not None],
        [gradient.double() for gradient in gradients],
    )
    for ours, expected_one in zip((y, *found), (expected, *theirs), strict=True):
        assert relative_error(ours, expected_one) < TOLERANCES[dtype]
    of = (joined if "before" in additions else tensors[0]).float()
    torch.testing.assert_close(mean, of.mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(variance, of.var((0, 2, 3), unbiased=False), atol=1e-5, rtol=1e-4)


@needs_compiler
def test_a_sum_that_is_used_alone_has_its_gradient():
    x, before, _, *parameters = draw_inputs((3, 16, 4, 4), torch.float32, "before")
    inputs = [x.requires_grad_(), before.requires_grad_()]
    joined, *_ = batch_norm_act(*inputs, None, *parameters, EPS, 0.1)
    for gradient in torch.autograd.grad(joined.sum(), inputs):
        assert torch.equal(gradient, torch.ones_like(x))


@needs_compiler
@pytest.mark.parametrize("additions", ["", "before", "after", "before after"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_known_statistics_are_used(dtype, additions):
    x, before, after, *parameters = draw_inputs((5, 32, 6, 7), dtype, additions)
    statistics = (torch.linspace(-1, 1, 32), torch.linspace(0.5, 2, 32))
    joined, y = normalize_act(x, before, after, *parameters, *statistics, EPS, 0.1)
    tensors = doubles([x, before, after, *parameters])
    expected_joined, expected = normalize_doubles(
        *tensors, 0.1, [value.double() for value in statistics]
    )
    assert relative_error(y, expected) < TOLERANCES[dtype]
    if "before" in additions:
        assert relative_error(joined, expected_joined) < TOLERANCES[dtype]


@needs_compiler
@pytest.mark.parametrize("is_sum", [False, True], ids=["alone", "of a sum"])
def test_a_large_mean_does_not_swallow_the_variance(is_sum):
    x = images((8, 16, 16, 16), torch.float32, mean=1000.0, scale=0.1)
    before = images((8, 16, 16, 16), torch.float32, mean=1000.0, scale=0.1) if is_sum else None
    *_, variance = batch_norm_act(x, before, None, *draw_parameters(16), EPS, 0.1)
    expected = (x if before is None else x + before).double().var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(variance.double(), expected, rtol=1e-4, atol=0)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_a_number_stays_so(dtype):
    x = images((2, 16, 8, 8), dtype)
    x[0, 1, 2, 3] = float("nan")
    _, y, *_ = batch_norm_act(x, None, None, *draw_parameters(16), EPS, 0.0)
    assert y[:, 1].isnan().all()
    assert not y[:, [0, *range(2, 16)]].isnan().any()


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
            _, y, *_ = batch_norm_act(inputs[0], None, None, *inputs[1:], EPS, 0.1)
            runs.append((y, *torch.autograd.grad(y, inputs, dy)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@needs_compiler
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("channels", [16, 6], ids=["kernel", "torch"])
def test_the_module_is_batch_norm_and_activation_and_additions(channels, slope):
    x, before, after, *_ = draw_inputs((4, channels, 5, 5), torch.float32, "before after")
    joined = BatchNormAct(channels, momentum=0.3, negative_slope=slope)
    norm = nn.BatchNorm2d(channels, EPS, 0.3)
    assert can_take(x, joined.parameters()) == (channels == 16)
    norm.load_state_dict(joined.state_dict())

    def agree():
        torch.testing.assert_close(joined(x), F.leaky_relu(norm(x), slope), atol=1e-5, rtol=1e-5)
        total, y = joined.of_sum(x, before)
        assert torch.equal(total, x + before)
        torch.testing.assert_close(y, F.leaky_relu(norm(total), slope), atol=1e-5, rtol=1e-5)
        y = joined.plus(x, after)
        torch.testing.assert_close(y, F.leaky_relu(norm(x) + after, slope), atol=1e-5, rtol=1e-5)
        for ours, theirs in zip(joined.buffers(), norm.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs)

    for _ in range(2):
        agree()
    joined.eval()
    norm.eval()
    agree()
    with torch.no_grad():
        agree()


def test_gradients_in_evaluation_mode_are_there():
    x = images((4, 16, 5, 5), torch.float32).requires_grad_()
    norm = BatchNormAct(16, negative_slope=0.0).eval()
    (gradient,) = torch.autograd.grad(norm(x).sum(), x)
    torch.testing.assert_close(gradient, (x > 0) / torch.sqrt(torch.tensor(1 + EPS)))


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 16, 4, 4),
        torch.zeros(2, 16, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 16, 4, 4, device="meta").contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 24, 4, 4).contiguous(memory_format=torch.channels_last),
        torch.zeros(1, 16, 1, 1),
    ],
    ids=["contiguous", "double", "meta", "24 channels", "one value"],
)
def test_other_batches_are_left_to_torch(x):
    assert not can_take(x, ())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_parameters_of_other_types_are_left_to_torch(training, dtype):
    x = images((4, 16, 5, 5), dtype, mean=0.3)
    ours, theirs = BatchNormAct(16).to(dtype), nn.BatchNorm2d(16).to(dtype)
    with torch.no_grad():
        assert torch.equal(ours.train(training)(x), theirs.train(training)(x))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_other_numbers_of_channels_are_refused(training):
    with torch.no_grad(), pytest.raises(RuntimeError, match="running_mean should contain 32"):
        BatchNormAct(16).train(training)(images((4, 32, 5, 5), torch.float32))


@needs_compiler
def test_second_gradients_are_refused():
    x, _, _, *parameters = draw_inputs((4, 16, 5, 5), torch.float32, "")
    _, y, *_ = batch_norm_act(x.requires_grad_(), None, None, *parameters, EPS, 0.1)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="batch_norm_act_backward has no gradients"):
        gradient.square().sum().backward()


@needs_compiler
def test_statistics_are_not_differentiable():
    x, before, _, *parameters = draw_inputs((4, 16, 5, 5), torch.float32, "before")
    results = batch_norm_act(x.requires_grad_(), before, None, *parameters, EPS, 0.1)
    assert [result.requires_grad for result in results] == [True, True, False, False]


@pytest.mark.parametrize(
    "added",
    [images((2, 16, 4, 5), torch.float32), images((2, 16, 4, 4), torch.bfloat16)],
    ids=["shape", "dtype"],
)
def test_what_is_added_must_be_alike(added):
    assert not can_take(images((2, 16, 4, 4), torch.float32), (), added)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"], ids=["none", "fails"])
def test_without_a_compiler_torch_does_the_same(compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    try:
        x = images((4, 16, 5, 5), torch.float32)
        assert not can_take(x, ())
        y = BatchNormAct(16, negative_slope=0.1)(x)
        assert (y.mean((0, 2, 3)) > 0).all()
    finally:
        library.load.cache_clear()
    assert list(tmp_path.rglob("*.so")) == []
