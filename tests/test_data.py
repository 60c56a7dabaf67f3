"""Which data set a cell gets, and which of its images."""

import logging
from dataclasses import replace

import pytest
from helpers.layouts import CLASSES, make_layout, make_release
from helpers.server import refused_url

from sslbench.data import open_dataset
from sslbench.data.auto import Auto
from sslbench.data.digits import Digits
from sslbench.data.layout import IMAGE_BYTES, LayoutData
from sslbench.data.stl10 import STL10


def stl10(root, kind=STL10, **fields):
    return kind(root=str(root), url=refused_url(), **fields)


def layout(root, **fields):
    return LayoutData(root=str(root), **fields)


def test_auto_is_stl10_where_its_folder_is_and_never_falls_back_from_a_part_of_it(
    tmp_path, monkeypatch
):
    folder, settings = make_layout(tmp_path), stl10(tmp_path, Auto)
    monkeypatch.setattr(STL10, "release", make_release(folder))
    found = settings.concrete(tmp_path)
    assert found == STL10("stl10", "stl10", str(tmp_path), url=settings.url)
    assert found == found.concrete(tmp_path)
    dataset = open_dataset(found, tmp_path / "outputs")
    assert (dataset.name, dataset.files.class_names) == ("stl10", CLASSES)
    for name in ("class_names.txt", "train_X.bin"):
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"{name}: missing"):
            settings.concrete(tmp_path)


@pytest.mark.parametrize("download", [True, False])
def test_without_files_auto_warns_of_the_stand_in_and_stl10_refuses(tmp_path, caplog, download):
    settings = stl10(tmp_path / "data", Auto, download=download)
    found = settings.concrete(tmp_path)
    assert found == Digits(root=settings.root, name="digits") == found.concrete(tmp_path)
    [warning] = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    with pytest.raises(ValueError, match="(?s)STL-10 is not there.*data=digits") as error:
        STL10(root=settings.root, url=settings.url, download=download).concrete(tmp_path)
    for part in (settings.url, "91f7769df0f17e558f3565bffb0c7dfb", "tar -xzf"):
        assert part in warning
        assert part in str(error.value)
    assert "NOT comparable with the paper" in warning
    assert not (tmp_path / "data").exists()


def test_a_layout_is_known_by_its_fingerprint(tmp_path):
    folder, settings = make_layout(tmp_path / "ours"), layout(tmp_path / "ours")
    found = settings.concrete(tmp_path)
    assert found == found.concrete(tmp_path)
    assert found == replace(settings, name="ours", fingerprint=found.fingerprint)
    dataset = open_dataset(found, tmp_path / "outputs")
    assert (dataset.name, dataset.files.fingerprint) == ("ours", found.fingerprint)
    (folder / "train_y.bin").write_bytes(bytes([1] * 20))
    with pytest.raises(ValueError, match=f"expected data.fingerprint={found.fingerprint}"):
        open_dataset(found, tmp_path / "outputs")


@pytest.mark.parametrize("folder", ["stl10", "ours"])
def test_a_layout_has_its_folders_name_but_not_another_sets(tmp_path, monkeypatch, folder):
    make_layout(tmp_path / folder)
    monkeypatch.chdir(tmp_path / folder)
    found = open_dataset(layout("."), tmp_path / "outputs").name
    assert found == ("ours" if folder == "ours" else f"layout-{folder}")


def test_a_layout_of_another_side_needs_no_unlabelled_images(tmp_path):
    folder, outputs = make_layout(tmp_path, num_train=90, num_test=45), tmp_path / "outputs"
    (folder / "train_y.bin").write_bytes(bytes(i % 10 + 1 for i in range(90 * 9)))
    (folder / "test_y.bin").write_bytes(bytes(i % 10 + 1 for i in range(45 * 9)))
    (folder / "unlabeled_X.bin").unlink()
    dataset = open_dataset(layout(tmp_path, side=32), outputs)
    assert dataset.counts == {"labeled": 810, "unlabeled": 0, "val": 80, "test": 325}
    assert dataset.files.images["test"].shape == (405, 3, 32, 32)
    with pytest.raises(ValueError, match=r"train_X.* 112x112 .*side=32, data\.side=96"):
        open_dataset(layout(tmp_path, side=112), outputs)


def test_all_train_images_are_labelled_or_a_fold_or_few_of_them(tmp_path):
    make_layout(tmp_path, num_train=40, num_test=50, folds=True)
    everything, fold, few = (
        open_dataset(layout(tmp_path, fold=fold, num_labeled=num), tmp_path / "outputs")
        for fold, num in ((None, None), (3, None), (3, 10))
    )
    assert everything.splits.train.indices.tolist() == list(range(40))
    assert fold.splits.train.indices.tolist() == list(range(3, 23))
    assert set(few.splits.train.indices) < set(fold.splits.train.indices)
    assert sorted(few.files.labels["train"][few.splits.train.indices]) == list(range(10))
    assert len(few.splits.val.indices) == 10
    assert sorted([*few.splits.val.indices, *few.splits.test.indices]) == list(range(50))


def test_statistics_are_measured_once_for_each_content(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        make_layout(tmp_path / name, seed=seed)
    a, b = (open_dataset(layout(tmp_path / name), tmp_path / "outputs") for name in "ab")
    assert b.mean != a.mean
    monkeypatch.setattr("sslbench.data.statistics.color_statistics", None)
    again = open_dataset(layout(tmp_path / "a", num_labeled=10), tmp_path / "outputs")
    assert (again.mean, again.std) == (a.mean, a.std)


def spoil(folder, flaw):
    """Write images that no file shows to be wrong."""
    train, test = (folder / f"{split}_X.bin" for split in ("train", "test"))
    image = test.read_bytes()[:IMAGE_BYTES]
    if flaw == "test images are among the train images":
        test.write_bytes(train.read_bytes() + test.read_bytes()[20 * IMAGE_BYTES :])
    if flaw == "test images are there more than once":
        test.write_bytes(image * 30)
    if flaw == "test images are blank":
        test.write_bytes(test.read_bytes()[: 20 * IMAGE_BYTES] + bytes(10 * IMAGE_BYTES))
    if flaw == "train images are blank":
        train.write_bytes(bytes([7]) * 5 * IMAGE_BYTES + train.read_bytes()[5 * IMAGE_BYTES :])


@pytest.mark.parametrize(
    "flaw",
    [
        "test images are among the train images",
        "test images are there more than once",
        "test images are blank",
        "train images are blank",
    ],
)
def test_images_that_would_make_results_worthless_are_refused(flaw, tmp_path):
    folder = make_layout(tmp_path)
    assert open_dataset(layout(tmp_path), tmp_path / "outputs").flaws == []
    spoil(folder, flaw)
    with pytest.raises(ValueError, match=rf"\d+ of \d+ {flaw}.*data\.max_flawed=1"):
        open_dataset(layout(tmp_path), tmp_path / "outputs")
    taken = open_dataset(layout(tmp_path, max_flawed=1.0), tmp_path / "outputs")
    assert any(text.endswith(flaw) for text in taken.describe()["flaws"])


def test_a_test_split_of_one_class_is_refused(tmp_path):
    folder = make_layout(tmp_path)
    (folder / "test_y.bin").write_bytes(bytes([3] * 30))
    with pytest.raises(ValueError, match="all 6 validation images are of one class"):
        open_dataset(layout(tmp_path), tmp_path / "outputs")
