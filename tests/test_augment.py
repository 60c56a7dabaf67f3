"""Operations against torchvision's, and what every operation must keep."""

import math
from dataclasses import dataclass
from itertools import permutations

import pytest
import torch
import torchvision.transforms.v2 as transforms
import torchvision.transforms.v2.functional as reference
from helpers.cells import generator, random_bytes
from scipy import stats
from torch.testing import assert_close

from sslbench.augment import ops
from sslbench.augment.operations import SIX, Blur, Crop, Flip, Grayscale, Jitter, Solarize
from sslbench.augment.views import PlainView, RandomView
from sslbench.config.parts import Operation
from sslbench.randomness import generator as generator_for

MEAN, STD = torch.tensor([0.44, 0.43, 0.40]), torch.tensor([0.26, 0.25, 0.27])
# In noise a position that float32 rounds by 1e-5 of a pixel changes the value by as much.
CLOSE = {"rtol": 0, "atol": 2e-5}


def chain(p, *names):
    return {name: SIX[name](p=p) for name in names or SIX}


def view_of(operations):
    return RandomView(operations, MEAN, STD)


def plain(images):
    return PlainView(MEAN, STD).apply(images)


def sample(view, n, seed=0):
    return view.sample(lambda name: generator_for(seed, name), n, 96)


def of_image(params, position):
    return {key: values[position] for key, values in params.items()}


def jitter(operation, image, own):
    names = ("brightness", "contrast", "saturation", "hue")
    for place in own["ranks"].argsort().tolist():
        image = getattr(reference, f"adjust_{names[place]}")(image, own["factors"][place].item())
    return image


REFERENCES = {
    Crop: lambda it, x, own: reference.resized_crop(x, *own["boxes"].tolist(), [96, 96]),
    Flip: lambda it, x, own: reference.horizontal_flip(x),
    Jitter: jitter,
    Grayscale: lambda it, x, own: reference.rgb_to_grayscale(x, 3),
    Blur: lambda it, x, own: reference.gaussian_blur(x, it.kernel, own["sigmas"].item()),
    Solarize: lambda it, x, own: reference.solarize(x, it.threshold / 255),
}
BOXES = [[0, 0, 96, 96], [95, 95, 1, 1], [0, 94, 96, 2], [40, 3, 1, 93], [11, 17, 50, 37]]
ORDERS = torch.tensor(list(permutations(range(4))))
FACTORS = 1 + 0.8 * torch.rand(24, 4, generator=generator(1)).sub_(0.5).mul_(2)
FACTORS[:, 3] = torch.linspace(-0.5, 0.5, 24)
NEUTRAL = torch.tensor([1.0, 1.0, 1.0, 0.0])
SHIFTS = NEUTRAL.repeat(6, 1)
SHIFTS[:, 3] = torch.tensor([0.5, -0.1, 0.0, 0.1, 1e-4, -0.5])
SIGMAS = torch.tensor([1e-3, 0.1, 0.5, 2.0, 7.0])


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        (Crop(), {"boxes": torch.tensor(BOXES)}),
        (Flip(), {}),
        (Jitter(), {"factors": FACTORS, "ranks": ORDERS}),
        (Jitter(), {"factors": SHIFTS, "ranks": ORDERS[:6]}),
        (Jitter(), {"factors": NEUTRAL.expand(24, 4), "ranks": ORDERS}),
        (Grayscale(), {}),
        *((Blur(kernel=kernel), {"sigmas": SIGMAS}) for kernel in (1, 3, 9, 95)),
        *((Solarize(threshold=threshold), {}) for threshold in (0, 1, 64, 128, 255)),
    ],
)
def test_an_operation_is_torchvisions(operation, params):
    n = max((len(values) for values in params.values()), default=4)
    images = random_bytes(n) / 255
    images[0] = images[0].round()  # black and white
    images[1, 1] = images[1, 0]  # one hue
    images[2] = images[2, :1]  # no hue
    expected = [
        REFERENCES[type(operation)](operation, image, of_image(params, position))
        for position, image in enumerate(images)
    ]
    assert_close(operation.apply(images, params), torch.stack(expected), **CLOSE)


def test_solarising_from_256_on_changes_nothing():
    images = random_bytes(2) / 255
    assert torch.equal(Solarize(threshold=256).apply(images, {}), images)


def test_a_view_is_torchvisions_chain_for_each_image_by_its_own_parameters():
    view, images, expected = view_of(chain(0.5)), random_bytes(12), []
    params = sample(view, 12)
    for position, image in enumerate(images / 255):
        for name, operation in view.operations.items():
            own = of_image(params[name], position)
            if own["applied"]:
                image = REFERENCES[type(operation)](operation, image, own)
        expected.append(reference.normalize(image, MEAN.tolist(), STD.tolist()))
    difference = (view.apply(images, params) - torch.stack(expected)).abs()
    # Next to its threshold, solarising turns a rounding error into a large one.
    assert (difference > 4 * CLOSE["atol"]).float().mean() < 1e-4


def test_the_plain_view_is_torchvisions_normalisation():
    images = random_bytes(3)
    assert_close(plain(images), reference.normalize(images / 255, MEAN.tolist(), STD.tolist()))


def apply_without_values(operations):
    """Apply a view to meta tensors, which do not mix with those of other devices."""
    view = RandomView(operations, MEAN.to("meta"), STD.to("meta"))
    params = {
        name: {key: values.to("meta") for key, values in own.items()}
        for name, own in sample(view, 5).items()
    }
    assert view.apply(random_bytes(5).to("meta"), params).shape == (5, 3, 96, 96)


@pytest.mark.parametrize("name", SIX)
class TestEveryOperation:
    @pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
    def test_it_changes_the_images_that_are_drawn_each_as_if_it_were_alone(self, name, p):
        view, images = view_of(chain(p, name)), random_bytes(16)
        columns_first = images.transpose(2, 3).contiguous().transpose(2, 3)
        params = sample(view, 16)
        result, own = view.apply(columns_first, params), params.get(name, {})
        assert (result.shape, result.dtype) == ((16, 3, 96, 96), torch.float32)
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(columns_first, random_bytes(16)), "what is given stays as it is"
        drawn = own.get("applied", torch.zeros(16, dtype=torch.bool))
        assert {0: drawn.sum() == 0, 0.5: 0 < drawn.sum() < 16, 1: drawn.all()}[p]
        assert torch.equal(result[~drawn], plain(images)[~drawn])
        for i in drawn.nonzero()[:, 0].tolist():
            alone = SIX[name]().apply(images[i : i + 1] / 255, of_image(own, slice(i, i + 1)))
            assert_close(result[i], ops.normalize(alone, MEAN, STD)[0], rtol=0, atol=1e-4)
        differs = (result - plain(images)).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert differs.sum() >= 0.8 * drawn.sum()

    @pytest.mark.parametrize("p", [0.5, 1.0])
    def test_it_reads_no_values_and_makes_no_tensor_elsewhere(self, name, p):
        apply_without_values(chain(p, name))

    def test_its_draws_depend_on_its_generator_alone(self, name):
        state = torch.get_rng_state()
        alone = sample(view_of(chain(0.5, name)), 50)[name]
        among = sample(view_of(dict(reversed(chain(0.9).items()))), 50)[name]
        other = sample(view_of(chain(0.5, name)), 50, seed=1)[name]
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(among[key], alone[key]) for key in alone.keys() - {"applied"})
        assert not any(torch.equal(other[key], alone[key]) for key in alone)
        for key, values in alone.items():
            assert (other[key].shape, other[key].dtype) == (values.shape, values.dtype)

    def test_its_share_of_images_is_its_probability(self, name):
        share = sample(view_of(chain(0.3, name)), 2000)[name]["applied"].float().mean().item()
        assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2000))


@dataclass
class Waits(Operation):
    def apply(self, images, params):
        return images * images.max().item()


def test_an_operation_that_waits_for_the_device_is_found():
    with pytest.raises(RuntimeError, match="meta"):
        apply_without_values({"waits": Waits()})


def test_operations_come_in_the_order_in_which_they_stand():
    images = random_bytes(4)
    crop, blur = {"crop": Crop(scale=[0.2, 0.3])}, {"blur": Blur(p=1.0, sigma=[2.0, 2.0])}
    params = sample(view_of(crop | blur), 4)
    cropped = crop["crop"].apply(images / 255, params["crop"])
    expected = ops.normalize(blur["blur"].apply(cropped, params["blur"]), MEAN, STD)
    assert_close(view_of(crop | blur).apply(images, params), expected)
    assert (view_of(blur | crop).apply(images, params) - expected).abs().max() > 0.1


def test_two_operations_of_one_kind_draw_apart():
    params = sample(view_of({"once": Crop(), "twice": Crop()}), 20)
    assert not torch.equal(params["once"]["boxes"], params["twice"]["boxes"])


def test_a_view_of_all_operations_is_one_graph():
    view, images = view_of(chain(1.0)), random_bytes(3)
    params = sample(view, 3)
    traced = torch.compile(view.apply, fullgraph=True, backend="eager")
    assert_close(traced(images, params), view.apply(images, params), rtol=0, atol=1e-4)


class TestDraws:
    def test_boxes_are_distributed_as_torchvisions(self):
        boxes = Crop(ratio=[0.6, 1.2]).sample(generator(), 3000, 96)["boxes"]
        assert ((boxes >= 0).all(1) & (boxes[:, :2] + boxes[:, 2:] <= 96).all(1)).all()
        theirs = transforms.RandomResizedCrop(96, ratio=(0.6, 1.2))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            drawn = [theirs.make_params([torch.empty(3, 96, 96)]) for _ in range(3000)]
        names = ("top", "left", "height", "width")
        expected = torch.tensor([[params[name] for name in names] for params in drawn])
        columns = [
            (*found.T, found[:, 2] * found[:, 3], found[:, 3] / found[:, 2])
            for found in (boxes, expected)
        ]
        for name, a, b in zip((*names, "area", "ratio"), *columns, strict=True):
            assert stats.ks_2samp(a.numpy(), b.numpy()).pvalue > 1e-3, name

    def test_boxes_lie_anywhere_from_edge_to_edge(self):
        boxes = Crop(scale=[(94 / 96) ** 2] * 2, ratio=[1.0, 1.0]).sample(generator(), 3600, 96)
        corners, counts = boxes["boxes"].unique(dim=0, return_counts=True)
        assert corners.tolist() == [[y, x, 94, 94] for y in range(3) for x in range(3)]
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3

    @pytest.mark.parametrize("ratio", [[3.0, 4.0], [0.25, 1 / 3]])
    def test_a_box_that_never_fits_is_the_largest_central_one(self, ratio):
        boxes = Crop(scale=[1.0, 1.0], ratio=ratio).sample(generator(), 2, 96)["boxes"]
        theirs = transforms.RandomResizedCrop(96, scale=(1.0, 1.0), ratio=tuple(ratio))
        params = theirs.make_params([torch.empty(3, 96, 96)])
        assert boxes.tolist() == [[params[name] for name in ("top", "left", "height", "width")]] * 2

    def test_jitter_and_blur_are_drawn_from_their_ranges_and_all_24_orders_alike(self):
        strengths = {"brightness": 0.4, "contrast": 0.3, "saturation": 0.2, "hue": 0.1}
        params = Jitter(**strengths).sample(generator(), 4800, 96)
        orders, counts = params["ranks"].unique(dim=0, return_counts=True)
        assert len(orders) == 24
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
        factors = params["factors"] - NEUTRAL
        for drawn, strength in zip(factors.T, strengths.values(), strict=True):
            assert stats.kstest(drawn.numpy(), "uniform", (-strength, 2 * strength)).pvalue > 1e-3
        correlations = torch.corrcoef(factors.T) - torch.eye(4)
        assert correlations.abs().max() < 4 / math.sqrt(4800)
        sigmas = Blur(sigma=[0.5, 1.5]).sample(generator(), 2000, 96)["sigmas"].numpy()
        assert stats.kstest(sigmas, "uniform", (0.5, 1.0)).pvalue > 1e-3
