"""What today's recipes add to the operations, against torchvision's on the same parameters."""

import pytest
import torch
import torchvision.transforms.v2 as transforms
import torchvision.transforms.v2.functional as reference
from helpers.cells import compose, generator, random_bytes
from scipy import stats
from torch.testing import assert_close

from sslbench.augment.mixing import CutMix, MixUp
from sslbench.augment.operations import Blur, Crop
from sslbench.augment.patches import Cutout, PaddedCrop, RandomErasing
from sslbench.augment.rand_augment import KINDS, LIST, RandAugment
from sslbench.augment.views import RandomView
from sslbench.data.feed import map_tensors
from sslbench.methods.losses import mixed_labels
from sslbench.randomness import generator as generator_for

MEAN, STD = torch.tensor([0.44, 0.43, 0.40]), torch.tensor([0.26, 0.25, 0.27])
BILINEAR = transforms.InterpolationMode.BILINEAR
# In noise a position that float32 rounds by 1e-5 of a pixel changes the value by as much.
CLOSE = {"rtol": 0, "atol": 2e-5}
N = 8


def images_of_all_sorts(n=N):
    images = random_bytes(n) / 255
    images[0] = images[0].round()  # black and white
    images[1, 1] = 0.3  # a channel of one value
    images[2] = images[2] * 0.5 + 0.2
    images[3] = torch.linspace(0, 1, 96)[:, None] ** 3
    images[4, :, :64] = 1  # mostly of one value
    return images


def affine(image, *, translate=(0, 0), shear=(0, 0)):
    degrees = torch.tensor(shear, dtype=torch.float64).atan().rad2deg().tolist()
    # Grey is zero here: given a fill, torchvision counts its share twice in pixels at the edge.
    found = reference.affine(image - 0.5, 0, list(translate), 1, degrees, BILINEAR, center=[0, 0])
    return found + 0.5


def rotate(image, angle):
    return reference.rotate(image - 0.5, angle, BILINEAR) + 0.5


REFERENCES = {
    "identity": lambda image, value: image,
    "shear_x": lambda image, value: affine(image, shear=(value, 0)),
    "shear_y": lambda image, value: affine(image, shear=(0, value)),
    "translate_x": lambda image, value: affine(image, translate=(value * 96, 0)),
    "translate_y": lambda image, value: affine(image, translate=(0, value * 96)),
    "rotate": rotate,
    "brightness": reference.adjust_brightness,
    "color": reference.adjust_saturation,
    "contrast": reference.adjust_contrast,
    "sharpness": reference.adjust_sharpness,
    "posterize": lambda image, value: reference.posterize(image, int(value)),
    "solarize": reference.solarize,
    "autocontrast": lambda image, value: reference.autocontrast(image),
    "equalize": lambda image, value: reference.equalize(image),
}


@pytest.mark.parametrize("kind", LIST, ids=lambda kind: kind.name)
def test_each_change_of_randaugments_list_is_torchvisions(kind):
    images = images_of_all_sorts()
    values = torch.linspace(kind.lowest, kind.highest, N)
    values[::2] *= -1 if kind.signed else 1
    values = values.round() if kind.name == "posterize" else values
    params = {"kinds": torch.full((N, 1), KINDS[kind.name]), "values": values[:, None]}
    found = RandAugment(num_ops=1).apply(images, params)
    expected = [REFERENCES[kind.name](*each) for each in zip(images, values.tolist(), strict=True)]
    assert_close(found, torch.stack(expected), **CLOSE)
    assert torch.equal(images, images_of_all_sorts()), "what is given stays as it is"


def test_images_of_a_batch_have_changes_of_their_own_one_after_the_other():
    images, operation = images_of_all_sorts(48), RandAugment(num_ops=3)
    params = operation.sample(generator(), 48, 96)
    expected = []
    for image, kinds, values in zip(images, *params.values(), strict=True):
        for kind, value in zip(kinds.tolist(), values.tolist(), strict=True):
            image = REFERENCES[LIST[kind].name](image, value)
        expected.append(image)
    difference = (operation.apply(images, params) - torch.stack(expected)).abs()
    # Next to a threshold or between two levels a rounding error becomes a large one.
    assert (difference > 4 * CLOSE["atol"]).float().mean() < 2e-3


def test_randaugment_draws_all_kinds_alike_and_levels_up_to_its_magnitude():
    params = RandAugment(magnitude=0.5).sample(generator(), 2800, 96)
    kinds, values = (params[name].flatten() for name in ("kinds", "values"))
    assert stats.chisquare(kinds.bincount(minlength=14).numpy()).pvalue > 1e-3
    for kind, each in enumerate(LIST):
        found = values[kinds == kind]
        middle = (each.lowest + each.highest) / 2
        low, high = sorted((each.lowest, middle))
        near = 0.02 * abs(each.highest - each.lowest)
        ends = found.abs().min().item(), found.abs().max().item()
        assert ends == pytest.approx((low, high), abs=near), each
        assert bool((found < 0).any()) == each.signed
    assert set(values[kinds == KINDS["posterize"]].tolist()) == {6, 7, 8}


def test_a_bicubic_crop_is_torchvisions():
    boxes = torch.tensor([[0, 0, 96, 96], [95, 95, 1, 1], [40, 3, 2, 93], [11, 17, 50, 37]])
    images = random_bytes(4) / 255
    found = Crop(interpolation="bicubic").apply(images, {"boxes": boxes})
    bicubic = transforms.InterpolationMode.BICUBIC
    expected = [
        reference.resized_crop(image, *box.tolist(), [96, 96], bicubic).clamp(0, 1)
        for image, box in zip(images, boxes, strict=True)
    ]
    assert_close(found, torch.stack(expected), **CLOSE)


def test_a_padding_crop_is_torchvisions():
    images, corners = random_bytes(4) / 255, torch.tensor([[0, 0], [24, 24], [12, 12], [3, 20]])
    found = PaddedCrop(padding=12).apply(images, {"corners": corners})
    padded = reference.pad(images, 12, padding_mode="reflect")
    expected = [
        reference.crop(image, *corner.tolist(), 96, 96)
        for image, corner in zip(padded, corners, strict=True)
    ]
    assert torch.equal(found, torch.stack(expected))
    drawn = PaddedCrop(padding=12).sample(generator(), 2000, 96)["corners"]
    assert (drawn.min(), drawn.max()) == (0, 24)


@pytest.mark.parametrize("operation", [RandomErasing(), Cutout(), Cutout(size=7)])
def test_what_is_hidden_is_what_torchvision_erases(operation):
    images = random_bytes(64) / 255
    params = operation.sample(generator(), 64, 96)
    expected = []
    for image, (top, left, height, width) in zip(images, params["boxes"].tolist(), strict=True):
        bottom, right, top, left = top + height, left + width, max(top, 0), max(left, 0)
        value = torch.full((3, 1, 1), 0.5)
        expected.append(reference.erase(image, top, left, bottom - top, right - left, value))
    assert torch.equal(operation.apply(images, params), torch.stack(expected))


def test_boxes_of_random_erasing_are_distributed_as_torchvisions():
    found = RandomErasing().sample(generator(), 2000, 96)["boxes"].T
    theirs = transforms.RandomErasing(value=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [theirs.make_params([torch.empty(3, 96, 96)]) for _ in range(2000)]
    for column, name in enumerate("ijhw"):
        expected = [params[name] for params in drawn]
        assert stats.ks_2samp(found[column].numpy(), expected).pvalue > 1e-3, name


def theirs_with(operation, params):
    """Return torchvision's transform of a batch by the parameters of an image."""
    if isinstance(operation, MixUp):
        return transforms.MixUp(num_classes=4), {"lam": params["shares"].item()}
    top, left, height, width = params["boxes"].tolist()
    box = (left, top, left + width, top + height)
    return transforms.CutMix(num_classes=4), {"box": box, "lam_adjusted": params["shares"].item()}


@pytest.mark.parametrize("operation", [MixUp(), CutMix()])
def test_mixed_images_and_labels_are_torchvisions_each_by_its_own_share(operation):
    images, labels = random_bytes(N) / 255, torch.arange(N) % 4
    params = operation.sample(generator(), N, 96)
    found = operation.apply(images, params), mixed_labels(labels, params["shares"], 4)
    for position in range(N):
        own = {name: values[position] for name, values in params.items()}
        transform, theirs = theirs_with(operation, own)
        theirs |= {"labels": labels, "batch_size": N}
        expected = transform.transform(images, theirs), transform.transform(labels, theirs)
        for mine, other in zip(found, expected, strict=True):
            assert_close(mine[position], other[position], rtol=0, atol=1e-6)


def test_shares_are_drawn_from_their_beta_distribution():
    shares = MixUp(alpha=0.4).sample(generator(), 2000, 96)["shares"].numpy()
    assert stats.kstest(shares, "beta", (0.4, 0.4)).pvalue > 1e-3
    areas = 1 - CutMix().sample(generator(), 2000, 96)["shares"].numpy()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = [torch.empty(1, 3, 96, 96)]
        theirs = [transforms.CutMix().make_params(batch)["lam_adjusted"] for _ in range(1000)]
    assert stats.ks_2samp(1 - areas, theirs).pvalue > 1e-3


def test_a_view_mixes_the_images_that_are_drawn_and_says_their_shares():
    view, images = RandomView({"mixup": MixUp(p=0.5)}, MEAN, STD), random_bytes(16)
    params = view.sample(lambda name: generator_for(0, name), 16, 96)
    applied, shares = params["mixup"]["applied"], view.shares(params)
    assert 0 < applied.sum() < 16
    assert torch.equal(shares, torch.where(applied, params["mixup"]["shares"], 1.0))
    plain = RandomView({}, MEAN, STD).apply(images, {})
    expected = torch.lerp(plain.roll(1, 0), plain, shares[:, None, None, None])
    assert_close(view.apply(images, params), expected, rtol=0, atol=1e-5)


def test_todays_views_are_one_graph_in_which_nothing_waits_for_the_device():
    operations = compose("augmentation=strong", "augmentation.view_a.cutmix.p=0.5").augmentation
    view = RandomView({"move": PaddedCrop(), **operations.view_a}, MEAN.to("meta"), STD.to("meta"))
    drawn = view.sample(lambda name: generator_for(0, name), 4, 96)
    params = map_tensors(lambda it: it.to("meta"), drawn)
    images = random_bytes(4).to("meta")  # whatever asks for a value there raises
    apply = torch.compile(view.apply, backend="eager", fullgraph=True)
    assert apply(images, params).shape == (4, 3, 96, 96)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("method=semi", "augmentation.view_a.mixup: mixes images, and method=semi has no loss for"),
        ("augmentation.view_a.cutmix.p=1", "view_a: mixup and cutmix both mix images; one may, so"),
        ("method.label_smoothing=1", "method.label_smoothing=1.0: must lie in"),
    ],
)
def test_mixed_images_are_refused_where_their_labels_would_be_lost(typed, message):
    with pytest.raises(ValueError) as refused:
        compose("augmentation=strong", "augmentation.view_a.mixup.p=1", typed)
    assert message in str(refused.value)


@pytest.mark.parametrize("side", [32, 96, 224])
@pytest.mark.parametrize(
    ("kind", "key", "largest"),
    [
        (PaddedCrop, "padding", lambda side: side - 1),
        (Cutout, "size", lambda side: side),
        (Blur, "kernel", lambda side: 2 * side - 1),
    ],
)
def test_what_an_operation_takes_of_an_image_follows_from_the_images_side(kind, key, largest, side):
    images = torch.rand(2, 3, side, side, generator=generator())
    operation = kind(**{key: largest(side)})
    operation.require_side(side)
    operation.apply(images, operation.sample(generator(), 2, side))
    with pytest.raises(ValueError, match=rf"{key}=\d+: must be .* data.side={side}"):
        kind(**{key: largest(side) + 2}).require_side(side)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Crop, "interpolation", "cubic"),
        (PaddedCrop, "padding", -1),
        (Cutout, "size", 0),
        (RandomErasing, "value", 2.0),
        (RandAugment, "num_ops", 0),
        (RandAugment, "magnitude", 1.5),
        (CutMix, "alpha", 0.0),
    ],
)
def test_values_out_of_range_are_named(kind, key, value):
    with pytest.raises(ValueError, match=f"augmentation: {key}={value}: must"):
        kind(**{key: value})
