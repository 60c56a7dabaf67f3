"""Which images are used for what, and the statistics of their colours."""

import numpy as np
import pytest

from sslbench.config.data import share_of
from sslbench.config.settings import Ratio
from sslbench.data.splits import (
    VAL_PURPOSE,
    choose_labeled,
    choose_share,
    cut,
    plain_number,
    seeded_order,
    unlabeled_pool,
)
from sslbench.data.statistics import color_statistics

STL10_TRAIN, STL10_TEST = np.arange(5000) % 10, np.repeat(np.arange(10), 800)


def test_a_seeded_order_is_the_same_everywhere():
    assert seeded_order(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert seeded_order(1000, 3).tolist() != seeded_order(1000, 4).tolist()
    assert sorted(seeded_order(1000, 3)) == list(range(1000))


def cut_val(split_seed):
    return cut(STL10_TEST, np.arange(8000), 0.2, split_seed, VAL_PURPOSE)


def test_stl10s_test_images_are_divided_1_to_4_in_each_class_by_the_seed_alone():
    val, test = cut_val(0)
    assert np.bincount(STL10_TEST[val]).tolist() == [160] * 10
    assert np.bincount(STL10_TEST[test]).tolist() == [640] * 10
    assert sorted([*val, *test]) == list(range(8000))
    assert val[:5].tolist() == [2, 3, 11, 13, 15]
    assert (cut_val(0)[0] == val).all()
    assert set(cut_val(1)[0]) != set(val)


def choose(num_labeled, candidates=None, split_seed=0, labels=STL10_TRAIN):
    candidates = np.arange(len(labels)) if candidates is None else candidates
    return choose_labeled(labels, candidates, num_labeled, 10, split_seed)


def test_labelled_choices_are_balanced_nested_and_among_their_candidates():
    few, many = choose(40), choose(250)
    assert np.bincount(STL10_TRAIN[few]).tolist() == [4] * 10
    assert np.bincount(STL10_TRAIN[many]).tolist() == [25] * 10
    assert set(few) < set(many)
    assert set(choose(40, split_seed=1)) != set(few)
    assert choose(5000).tolist() == list(range(5000))
    assert set(choose(100, np.arange(1000, 2000))) <= set(range(1000, 2000))


@pytest.mark.parametrize(
    ("num_labeled", "num_classes", "message"),
    [(45, 10, "a multiple of the 10"), (5010, 10, "at most .*=5000"), (10, 9, "only 0")],
)
def test_a_labelled_choice_that_cannot_be_made_is_refused(num_labeled, num_classes, message):
    with pytest.raises(ValueError, match=rf"data\.num_labeled={num_labeled}: .*{message}"):
        choose(num_labeled, labels=np.arange(5000) % num_classes)


def test_a_share_is_of_each_class_at_least_one_and_nested():
    labels = np.repeat([0, 1, 2], [1000, 300, 20])
    few, more = (choose_share(labels, np.arange(1320), share, 0) for share in (0.01, 0.1))
    assert np.bincount(labels[few]).tolist() == [10, 3, 1]
    assert np.bincount(labels[more]).tolist() == [100, 30, 2]
    assert set(few) < set(more)


def test_a_share_is_called_the_same_however_it_was_typed():
    equal, unequal = np.array([50, 50]), np.array([7, 12, 300])
    assert {plain_number(equal, share) for share in (0.1, 0.0999, 0.1001)} == {10}
    assert [plain_number(unequal, share) for share in (0.5, 0.50, 0.501)] == ["50%"] * 3
    for share in (0.01, 0.335, 0.41234567, 1.0):
        name = plain_number(unequal, share)
        assert plain_number(unequal, share_of(name)) == name
        chosen = [
            len(choose_share(np.repeat(range(3), unequal), np.arange(319), it, 0))
            for it in (share, share_of(name))
        ]
        assert chosen[0] == chosen[1]


def pool(unlabeled, *, labeled=1, num_available=100_000, num_labeled=5000, seed=0, of="pool"):
    ratio = Ratio(name="", labeled=labeled, unlabeled=unlabeled, of=of)
    return unlabeled_pool(num_available, num_labeled, ratio, seed)


def test_a_smaller_pool_begins_a_larger_one_and_follows_the_seed():
    one, five, twenty = pool(1), pool(5), pool(20)
    assert [len(one), len(five), len(set(twenty.tolist()))] == [5000, 25_000, 100_000]
    assert (twenty[:25_000] == five).all()
    assert (five[:5000] == one).all()
    assert set(pool(1, seed=4)) != set(one)


SIZES = {
    33: {"unlabeled": 2, "labeled": 3, "num_labeled": 50},  # rounded to whole images
    30: {"unlabeled": -1, "num_available": 30},
    31: {"unlabeled": 7, "num_available": 31, "of": "batch"},
    0: {"unlabeled": 0, "of": "batch"},
}
REFUSALS = {
    "admits none of 100,000 .* 60 lab": {"unlabeled": 1, "labeled": 1000, "num_labeled": 60},
    "no unlabelled images .*=train": {"unlabeled": 5, "num_available": 0, "of": "batch"},
    "are 246; .*ratio=1:4; ratio=all": {"unlabeled": 20, "num_available": 246, "num_labeled": 50},
}


@pytest.mark.parametrize("size", SIZES)
def test_a_ratio_admits_so_many_images(size):
    assert len(set(pool(**SIZES[size]).tolist())) == size


@pytest.mark.parametrize("message", REFUSALS)
def test_a_ratio_that_does_not_fit_is_refused_with_one_that_does(message):
    with pytest.raises(ValueError, match=message):
        pool(**REFUSALS[message])


def test_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 96, 96), dtype=np.uint8)
    images[:, 1] //= 2
    images[:256, 2] = 7  # the two chunks differ
    mean, std = color_statistics(images)
    pixels = images.swapaxes(0, 1).reshape(3, -1) / 255
    assert mean == pytest.approx(pixels.mean(1), rel=1e-12)
    assert std == pytest.approx(pixels.std(1), rel=1e-9)
    images[:, 2] = 9
    with pytest.raises(ValueError, match="channel 2 is 9"):
        color_statistics(images)
