import numpy as np
import pytest

from sslbench.config.parts import Ratio
from sslbench.data.splits import choose_labeled, seeded_order, split_val_test, unlabeled_pool
from sslbench.data.statistics import measure

STL10_TRAIN = np.arange(5000) % 10
STL10_TEST = np.repeat(np.arange(10), 800)


def test_seeded_order_is_the_same_everywhere():
    assert seeded_order(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert seeded_order(1000, 3).tolist() != seeded_order(1000, 4).tolist()
    assert sorted(seeded_order(1000, 3)) == list(range(1000))


def test_stl10_test_images_are_divided_1_to_4_in_each_class():
    val, test = split_val_test(STL10_TEST, 0.2, split_seed=0)
    assert (len(val), len(test)) == (1600, 6400)
    assert np.bincount(STL10_TEST[val]).tolist() == [160] * 10
    assert np.bincount(STL10_TEST[test]).tolist() == [640] * 10
    assert sorted([*val, *test]) == list(range(8000))
    assert val.dtype == test.dtype == np.int64


def test_the_split_follows_its_seed_alone():
    val, _ = split_val_test(STL10_TEST, 0.2, split_seed=0)
    assert (split_val_test(STL10_TEST, 0.2, split_seed=0)[0] == val).all()
    assert set(split_val_test(STL10_TEST, 0.2, split_seed=1)[0]) != set(val)


@pytest.mark.parametrize("val_fraction", [0.01, 0.99])
def test_an_empty_part_is_refused(val_fraction):
    with pytest.raises(ValueError, match=r"data\.val_fraction"):
        split_val_test(np.arange(20) % 10, val_fraction, split_seed=0)


def choose(num_labeled, candidates=None, split_seed=0, labels=STL10_TRAIN):
    if candidates is None:
        candidates = np.arange(len(labels))
    return choose_labeled(labels, candidates, num_labeled, 10, split_seed)


def test_labeled_choices_are_balanced_and_nested():
    few, many = choose(40), choose(250)
    assert np.bincount(STL10_TRAIN[few]).tolist() == [4] * 10
    assert np.bincount(STL10_TRAIN[many]).tolist() == [25] * 10
    assert set(few) < set(many)
    assert set(choose(40, split_seed=1)) != set(few)
    assert choose(5000).tolist() == list(range(5000))


def test_labeled_choice_stays_among_its_candidates():
    fold = np.arange(1000, 2000)
    assert set(choose(100, fold)) <= set(fold)


def test_labeled_choice_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match=r"data\.num_labeled=45: must be a multiple of the 10"):
        choose(45)
    with pytest.raises(ValueError, match=r"only 500; at most data.num_labeled=5000"):
        choose(5010)
    with pytest.raises(ValueError, match="only 0"):
        choose(10, labels=np.arange(50) % 9)


def pool(unlabeled, *, labeled=1, num_available=100_000, num_labeled=5000, seed=0, of="pool"):
    ratio = Ratio(name="", labeled=labeled, unlabeled=unlabeled, of=of)
    return unlabeled_pool(num_available, num_labeled, ratio, seed)


def test_a_smaller_pool_begins_a_larger_one():
    one, five, twenty = pool(1), pool(5), pool(20)
    assert [len(one), len(five), len(twenty)] == [5000, 25_000, 100_000]
    assert (twenty[:25_000] == five).all()
    assert (five[:5000] == one).all()
    assert len(set(twenty.tolist())) == 100_000
    assert twenty.dtype == np.int64


def test_the_pool_follows_the_seed():
    assert (pool(1, seed=3) == pool(1, seed=3)).all()
    assert set(pool(1, seed=3)) != set(pool(1, seed=4))


def test_the_pool_is_rounded_to_whole_images():
    assert len(pool(2, labeled=3, num_labeled=50)) == 33
    assert len(pool(5, labeled=3, num_labeled=50)) == 83


def test_a_ratio_that_admits_no_image_is_refused():
    with pytest.raises(ValueError, match="admits none of 1,200 .* 60 labelled"):
        pool(1, labeled=1000, num_available=1200, num_labeled=60)
    for ratio in ({"unlabeled": -1}, {"unlabeled": 5, "of": "batch"}):
        with pytest.raises(ValueError, match="admits none of 0 "):
            pool(num_available=0, **ratio)


def test_all_none_and_batch_ratios():
    for indices in (pool(-1, num_available=30), pool(7, num_available=30, of="batch")):
        assert sorted(indices) == list(range(30))
    assert len(pool(0)) == len(pool(0, of="batch")) == 0


def test_too_large_a_ratio_names_the_largest_that_fits():
    message = (
        r"ratio=1:20: 50 labelled images need 1,000 unlabelled ones, and there are 246; .*"
        r"ratio=1:4; ratio=all .*ratio.of=batch"
    )
    with pytest.raises(ValueError, match=message):
        pool(20, num_available=246, num_labeled=50)
    assert len(pool(4, num_available=246, num_labeled=50)) == 200
    with pytest.raises(ValueError, match="ratio=5000:246"):
        pool(1, num_available=246)
    assert len(pool(246, labeled=5000, num_available=246)) == 246


def test_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 96, 96), dtype=np.uint8)
    images[:, 1] //= 2
    images[:256, 2] = 7  # the two chunks differ
    mean, std = measure(images)
    pixels = images.swapaxes(0, 1).reshape(3, -1) / 255
    assert mean == pytest.approx(pixels.mean(1), rel=1e-12)
    assert std == pytest.approx(pixels.std(1), rel=1e-9)


def test_a_channel_without_contrast_is_refused():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 96), dtype=np.uint8)
    images[:, 2] = 9
    with pytest.raises(ValueError, match="channel 2 is 9"):
        measure(images)
