"""Operations against torchvision's, and what every operation must keep."""

import math
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


def crop(operation, image, own):
    mode = transforms.InterpolationMode(operation.interpolation)
    return reference.resized_crop(image, *own["boxes"].tolist(), [96, 96], mode).clamp(0, 1)


REFERENCES = {
    Crop: crop,
    Flip: lambda it, x, own: reference.horizontal_flip(x),
    Jitter: jitter,
    Grayscale: lambda it, x, own: reference.rgb_to_grayscale(x, 3),
    Blur: lambda it, x, own: reference.gaussian_blur(x, it.kernel_of(96), own["sigmas"].item()),
    Solarize: lambda it, x, own: reference.solarize(x, it.threshold / 255),
}
BOXES = [[0, 0, 96, 96], [95, 95, 1, 1], [0, 94, 96, 2], [40, 3, 1, 93], [11, 17, 50, 37]]
ORDERS = torch.tensor(list(permutations(range(4))))
FACTORS = 1 + 0.8 * torch.rand(24, 4, generator=generator(1)).sub_(0.5).mul_(2)
FACTORS[:, 3] = torch.linspace(-0.5, 0.5, 24)
SIGMAS = torch.tensor([1e-3, 0.1, 0.5, 2.0, 7.0])


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        (Crop(), {"boxes": torch.tensor(BOXES)}),
        (Crop(interpolation="bicubic"), {"boxes": torch.tensor(BOXES)}),
        (Flip(), {}),
        (Jitter(), {"factors": FACTORS, "ranks": ORDERS}),
        (Grayscale(), {}),
        *((Blur(kernel=kernel), {"sigmas": SIGMAS}) for kernel in (1, 9, 95)),
        *((Solarize(threshold=threshold), {}) for threshold in (0, 128, 255)),
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


@pytest.mark.parametrize("name", SIX)
class TestEveryOperation:
    @pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
    def test_it_changes_the_images_that_are_drawn_each_as_if_it_were_alone(self, name, p):
        view, images = view_of(chain(p, name)), random_bytes(16)
        params = sample(view, 16)
        result, own = view.apply(images, params), params.get(name, {})
        assert (result.shape, result.dtype) == ((16, 3, 96, 96), torch.float32)
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, random_bytes(16)), "what is given stays as it is"
        drawn = own.get("applied", torch.zeros(16, dtype=torch.bool))
        assert {0: drawn.sum() == 0, 0.5: 0 < drawn.sum() < 16, 1: drawn.all()}[p]
        assert torch.equal(result[~drawn], plain(images)[~drawn])
        for i in drawn.nonzero()[:, 0].tolist():
            alone = SIX[name]().apply(images[i : i + 1] / 255, of_image(own, slice(i, i + 1)))
            assert_close(result[i], ops.normalize(alone, MEAN, STD)[0], rtol=0, atol=1e-4)
        differs = (result - plain(images)).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert differs.sum() >= 0.8 * drawn.sum()

    def test_it_draws_by_its_generator_and_probability_alone(self, name):
        alone = sample(view_of(chain(0.5, name)), 50)[name]
        among = sample(view_of(dict(reversed(chain(0.9).items()))), 50)[name]
        other = sample(view_of(chain(0.5, name)), 50, seed=1)[name]
        assert all(torch.equal(among[key], alone[key]) for key in alone.keys() - {"applied"})
        assert not any(torch.equal(other[key], alone[key]) for key in alone)
        share = sample(view_of(chain(0.3, name)), 2000)[name]["applied"].float().mean().item()
        assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2000))


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
        factors = params["factors"] - torch.tensor([1.0, 1.0, 1.0, 0.0])
        for drawn, strength in zip(factors.T, strengths.values(), strict=True):
            assert stats.kstest(drawn.numpy(), "uniform", (-strength, 2 * strength)).pvalue > 1e-3
        sigmas = Blur(sigma=[0.5, 1.5]).sample(generator(), 2000, 96)["sigmas"].numpy()
        assert stats.kstest(sigmas, "uniform", (0.5, 1.0)).pvalue > 1e-3
