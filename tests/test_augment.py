import math
from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2 as transforms
import torchvision.transforms.v2.functional as reference
from scipy import stats
from sslbench.kernels import library
from sslbench.kernels import view as kernel

from sslbench.augment import ops
from sslbench.augment.views import PlainView, RandomView
from sslbench.config.settings import View

MEAN = torch.tensor([0.44, 0.43, 0.40])
STD = torch.tensor([0.26, 0.25, 0.27])
EVERYTHING = View(blur=0.5, solarize=0.5, grayscale=0.3)
NOTHING = View(crop=0, flip=0, jitter=0, grayscale=0, blur=0, solarize=0)
# In noise a position that float32 rounds by 1e-5 of a pixel changes the value by as much.
CROP_TOLERANCE = 2e-5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def uniform(low, high, *shape, seed=1):
    return low + (high - low) * torch.rand(*shape, generator=generator(seed))


def random_bytes(n, seed=0):
    return torch.randint(0, 256, (n, 3, 96, 96), dtype=torch.uint8, generator=generator(seed))


def random_images(n, seed=0):
    """Noise, with images of black and white, of one hue and of none among them."""
    images = random_bytes(n, seed) / 255
    images[0] = images[0].round()
    images[1, 1] = images[1, 0]
    images[2] = images[2, :1]
    return images


@pytest.fixture(params=["kernel", "torch"])
def each_way(request, monkeypatch):
    """By the kernel in C, and by torch's operations, as on a GPU or without a compiler."""
    if request.param == "torch":
        monkeypatch.setattr(kernel, "can_take", lambda images: False)
    elif library.load("view") is None:
        pytest.skip("there is no C compiler")


def assert_close(actual, expected, tolerance=1e-5):
    difference = (actual - expected).abs().max().item()
    assert difference <= tolerance, f"largest absolute difference {difference:.2e}"


def assert_independent(columns):
    """Four standard deviations are allowed."""
    correlations = torch.corrcoef(columns.T) - torch.eye(columns.shape[1])
    assert correlations.abs().max() < 4 / math.sqrt(len(columns))


def per_image(function, images, *params):
    return torch.stack([function(image, *own) for image, *own in zip(images, *params, strict=True)])


def reference_crop(image, box, flip):
    cropped = reference.resized_crop(image, *box.tolist(), [96, 96], antialias=True)
    return cropped.flip(2) if flip else cropped


def reference_jitter(image, factors, ranks):
    adjust = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    )
    for operation in ranks.argsort().tolist():
        image = adjust[operation](image, factors[operation].item())
    return image


def test_crop_and_flip_match_torchvision():
    boxes = torch.tensor(
        [[0, 0, 96, 96], [95, 95, 1, 1], [0, 94, 96, 2], [40, 3, 1, 93], [11, 17, 50, 37]] * 2
    )
    flips = torch.arange(10) >= 5
    images = random_images(10)
    expected = per_image(reference_crop, images, boxes, flips)
    assert_close(ops.resized_crop_and_flip(images, boxes, flips), expected, CROP_TOLERANCE)


def test_crop_of_the_whole_image_changes_nothing():
    images = random_images(3)
    boxes = torch.tensor([[0, 0, 96, 96]]).expand(3, 4)
    cropped = ops.resized_crop_and_flip(images, boxes, torch.zeros(3, dtype=torch.bool))
    assert_close(cropped, images, CROP_TOLERANCE)


def test_hue_matches_torchvision():
    shifts = torch.tensor([-0.5, 0.5, 0.1, 0.0, -0.1, 0.31, -0.23, 1e-4])
    images = random_images(8)
    expected = per_image(lambda image, shift: reference.adjust_hue(image, shift), images, shifts)
    assert_close(ops.adjust_hue(images, shifts), expected)


def test_jitter_matches_torchvision_in_each_order():
    ranks = torch.cartesian_prod(*[torch.arange(4)] * 4)
    ranks = ranks[(ranks.sort(dim=1).values == torch.arange(4)).all(dim=1)]
    assert len(ranks) == 24
    factors = torch.cat((uniform(0.2, 1.8, 24, 3), uniform(-0.5, 0.5, 24, 1)), dim=1)
    images = random_images(24)
    expected = per_image(reference_jitter, images, factors, ranks)
    assert_close(ops.color_jitter(images, factors, ranks), expected)


def test_jitter_by_neutral_factors_changes_nothing():
    images = random_images(4)
    factors = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).expand(4, 4)
    ranks = uniform(0, 1, 4, 4).argsort(dim=1)
    assert_close(ops.color_jitter(images, factors, ranks), images, 1e-6)


def test_grayscale_matches_torchvision_where_applied():
    images = random_images(4)
    applied = torch.tensor([True, False, True, False])
    gray = ops.grayscale(images, applied)
    assert_close(gray[applied], reference.rgb_to_grayscale(images[applied], 3), 1e-6)
    assert torch.equal(gray[~applied], images[~applied])


@pytest.mark.parametrize("kernel_size", [1, 3, 9, 95])
def test_blur_matches_torchvision(kernel_size):
    sigmas = torch.tensor([0.1, 0.5, 2.0, 7.0])
    images = random_images(4)
    expected = per_image(
        lambda image, sigma: reference.gaussian_blur(image, kernel_size, sigma.item()),
        images,
        sigmas,
    )
    assert_close(ops.gaussian_blur(images, sigmas, kernel_size), expected)


def test_blur_by_a_tiny_sigma_changes_nothing():
    images = random_images(3)
    assert torch.equal(ops.gaussian_blur(images, torch.full((3,), 1e-3), 9), images)


def test_solarize_matches_torchvision():
    thresholds = torch.tensor([0, 1, 64, 128, 255])
    images = random_images(5)
    expected = per_image(
        lambda image, threshold: reference.solarize(image, (threshold / 255).item()),
        images,
        thresholds,
    )
    assert_close(ops.solarize(images, thresholds), expected, 1e-6)


def test_solarize_inverts_all_at_threshold_0_and_nothing_at_256():
    images = random_images(3)
    assert_close(ops.solarize(images, torch.zeros(3)), 1 - images, 1e-6)
    assert torch.equal(ops.solarize(images, torch.full((3,), 256.0)), images)


def test_plain_view_matches_torchvision():
    images = random_bytes(3)
    expected = reference.normalize(images / 255, MEAN.tolist(), STD.tolist())
    assert_close(PlainView(MEAN, STD).apply(images), expected, 1e-6)


@pytest.mark.usefixtures("each_way")
def test_view_is_the_chain_of_operations_for_each_image():
    view = RandomView(EVERYTHING, MEAN, STD)
    images = random_bytes(12)
    params = view.sample(generator(), 12)

    def chain(image, box, flip, factors, ranks, gray, sigma, threshold):
        image = reference_jitter(reference_crop(image / 255, box, flip), factors, ranks)
        image = reference.rgb_to_grayscale(image, 3) if gray else image
        image = reference.gaussian_blur(image, 9, sigma.item())
        image = reference.solarize(image, threshold.item() / 255) if threshold < 256 else image
        return reference.normalize(image, MEAN.tolist(), STD.tolist())

    difference = (view.apply(images, params) - per_image(chain, images, *params.values())).abs()
    # Next to its threshold, solarising turns a rounding error into a large one.
    assert (difference > 4 * CROP_TOLERANCE).float().mean() < 1e-4


@pytest.mark.usefixtures("each_way")
def test_images_of_a_batch_are_changed_each_in_its_own_way():
    view = RandomView(EVERYTHING, MEAN, STD)
    images = random_bytes(1).expand(8, -1, -1, -1)
    params = view.sample(generator(), 8)
    views = view.apply(images, params)
    for i in range(8):
        own = {name: values[i : i + 1] for name, values in params.items()}
        assert_close(view.apply(images[:1], own), views[i : i + 1])
        assert all((views[i] - views[j]).abs().max() > 0.1 for j in range(i))


@pytest.mark.usefixtures("each_way")
def test_view_with_all_probabilities_0_is_the_plain_view():
    view = RandomView(NOTHING, MEAN, STD)
    images = random_bytes(4)
    params = view.sample(generator(), 4)
    assert torch.equal(view.apply(images, params), PlainView(MEAN, STD).apply(images))


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("name", ["crop", "flip", "jitter", "grayscale", "blur", "solarize"])
def test_each_operation_can_come_alone(name):
    view = RandomView(replace(NOTHING, **{name: 1.0}), MEAN, STD)
    images = random_bytes(4)
    params = view.sample(generator(), 4)
    expected = {
        "crop": lambda x: ops.resized_crop_and_flip(x, params["box"], params["flip"]),
        "flip": lambda x: x.flip(3),
        "jitter": lambda x: ops.color_jitter(x, params["jitter_factors"], params["jitter_ranks"]),
        "grayscale": lambda x: reference.rgb_to_grayscale(x, 3),
        "blur": lambda x: ops.gaussian_blur(x, params["blur_sigma"], 9),
        "solarize": lambda x: reference.solarize(x, 128 / 255),
    }[name](images / 255)
    result = view.apply(images, params)
    assert_close(result, ops.normalize(expected, MEAN, STD), 4 * CROP_TOLERANCE)
    assert (result - PlainView(MEAN, STD).apply(images)).abs().amax(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.usefixtures("each_way")
def test_an_operation_that_passes_an_image_by_does_not_change_it():
    view = RandomView(EVERYTHING, MEAN, STD)
    params = RandomView(NOTHING, MEAN, STD).sample(generator(), 4)
    images = random_bytes(4)
    assert_close(view.apply(images, params), PlainView(MEAN, STD).apply(images), 1e-4)


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("settings", [EVERYTHING, NOTHING, View(blur=1.0, crop=0, flip=0)])
@pytest.mark.parametrize("n", [1, 3])
def test_views_are_float32_channels_last_for_images_of_any_strides(settings, n):
    images = random_bytes(n)
    transposed = images.transpose(2, 3).contiguous().transpose(2, 3)
    view = RandomView(settings, MEAN, STD)
    params = view.sample(generator(), n)
    result = view.apply(transposed, params)
    assert result.shape == (n, 3, 96, 96)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert_close(result, view.apply(images, params))
    assert torch.equal(images, random_bytes(n)), "the images themselves must not change"


def test_applying_reads_no_values_and_makes_no_tensor_elsewhere():
    # Tensors on the meta device have no values, and do not mix with those of other devices.
    view = RandomView(EVERYTHING, MEAN.to("meta"), STD.to("meta"))
    params = {name: values.to("meta") for name, values in view.sample(generator(), 5).items()}
    result = view.apply(random_bytes(5).to("meta"), params)
    assert result.shape == (5, 3, 96, 96)


def test_operations_are_one_graph():
    def everything(images, params):
        images = ops.resized_crop_and_flip(images, params["box"], params["flip"])
        images = ops.color_jitter(images, params["jitter_factors"], params["jitter_ranks"])
        images = ops.grayscale(images, params["grayscale"])
        images = ops.gaussian_blur(images, params["blur_sigma"], 9)
        return ops.normalize(ops.solarize(images, params["solarize_threshold"]), MEAN, STD)

    images = random_images(3)
    params = RandomView(EVERYTHING, MEAN, STD).sample(generator(), 3)
    traced = torch.compile(everything, fullgraph=True, backend="eager")
    assert_close(traced(images, params), everything(images, params))


def test_sampling_depends_on_its_generator_alone():
    view = RandomView(EVERYTHING, MEAN, STD)
    first = view.sample(generator(3), 50)
    torch.rand(7)
    state = torch.get_rng_state()
    again = view.sample(generator(3), 50)
    other = view.sample(generator(4), 50)
    assert torch.equal(torch.get_rng_state(), state)
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


def test_probability_of_one_operation_leaves_the_draws_of_others():
    some = RandomView(View(jitter=0.8, blur=0.1), MEAN, STD).sample(generator(), 50)
    others = RandomView(View(jitter=0.0, blur=1.0), MEAN, STD).sample(generator(), 50)
    for name in ("box", "flip", "jitter_ranks", "grayscale", "solarize_threshold"):
        assert torch.equal(some[name], others[name])


def test_params_have_the_same_keys_shapes_and_dtypes_whatever_is_drawn():
    def layout(settings, seed):
        params = RandomView(settings, MEAN, STD).sample(generator(seed), 5)
        return {name: (values.shape, values.dtype) for name, values in params.items()}

    assert layout(EVERYTHING, 0) == layout(NOTHING, 1) == layout(View(), 2)
    assert all(shape[0] == 5 for shape, _ in layout(View(), 0).values())


def test_boxes_are_distributed_as_torchvisions():
    settings = View(crop_scale=[0.08, 1.0], crop_ratio=[0.6, 1.2])
    boxes = RandomView(settings, MEAN, STD).sample(generator(), 3000)["box"]
    top, left, height, width = boxes.unbind(1)
    assert torch.all((boxes >= 0).all(1) & (top + height <= 96) & (left + width <= 96))
    crop = transforms.RandomResizedCrop(96, scale=(0.08, 1.0), ratio=(0.6, 1.2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [crop.make_params([torch.empty(3, 96, 96)]) for _ in range(3000)]
    columns = zip(("top", "left", "height", "width"), boxes.T, strict=True)
    ours = {name: column.numpy() for name, column in columns}
    theirs = {name: torch.tensor([params[name] for params in drawn]).numpy() for name in ours}
    for params in (ours, theirs):
        params["area"] = params["height"] * params["width"]
        params["ratio"] = params["width"] / params["height"]
    for name in ours:
        assert stats.ks_2samp(ours[name], theirs[name]).pvalue > 1e-3, name


def test_boxes_lie_anywhere_from_edge_to_edge():
    settings = View(crop_scale=[(94 / 96) ** 2] * 2, crop_ratio=[1.0, 1.0])
    boxes = RandomView(settings, MEAN, STD).sample(generator(), 3600)["box"]
    assert torch.all(boxes[:, 2:] == 94)
    corners, counts = boxes[:, :2].unique(dim=0, return_counts=True)
    assert corners.tolist() == [[top, left] for top in range(3) for left in range(3)]
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("ratio", [[3.0, 4.0], [0.25, 1 / 3]])
def test_box_that_never_fits_is_the_largest_central_one(ratio):
    settings = View(crop_scale=[1.0, 1.0], crop_ratio=ratio)
    boxes = RandomView(settings, MEAN, STD).sample(generator(), 2)["box"]
    crop = transforms.RandomResizedCrop(96, scale=(1.0, 1.0), ratio=tuple(ratio))
    params = crop.make_params([torch.empty(3, 96, 96)])
    expected = [params[name] for name in ("top", "left", "height", "width")]
    assert boxes.tolist() == [expected, expected]


def test_jitter_is_drawn_from_its_ranges_in_all_24_orders():
    n = 4800
    settings = View(jitter=0.75, brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)
    params = RandomView(settings, MEAN, STD).sample(generator(), n)
    orders, counts = params["jitter_ranks"].unique(dim=0, return_counts=True)
    assert len(orders) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    jittered = (params["jitter_factors"] != neutral).any(dim=1)
    assert jittered.float().mean() == pytest.approx(0.75, abs=0.03)
    factors = params["jitter_factors"][jittered] - neutral
    for drawn, strength in zip(factors.T, (0.4, 0.3, 0.2, 0.1), strict=True):
        assert stats.kstest(drawn.numpy(), "uniform", (-strength, 2 * strength)).pvalue > 1e-3
    assert_independent(factors)


def test_shares_follow_the_probabilities():
    settings = View(crop=0.6, flip=0.3, grayscale=0.2, blur=0.4, solarize=0.1)
    params = RandomView(settings, MEAN, STD).sample(generator(), 4000)
    blurred = params["blur_sigma"] >= 0.1
    applied = {
        "crop": params["box"][:, 2:].prod(dim=1) < 96 * 96,
        "flip": params["flip"],
        "grayscale": params["grayscale"],
        "blur": blurred,
        "solarize": params["solarize_threshold"] == settings.solarize_threshold,
    }
    for name, chosen in applied.items():
        probability = getattr(settings, name)
        deviation = math.sqrt(probability * (1 - probability) / 4000)
        share = chosen.float().mean().item()
        assert share == pytest.approx(probability, abs=4 * deviation), name
    sigmas = params["blur_sigma"][blurred].numpy()
    assert stats.kstest(sigmas, "uniform", (0.1, 1.9)).pvalue > 1e-3
    assert_independent(torch.stack([chosen.float() for chosen in applied.values()], dim=1))
