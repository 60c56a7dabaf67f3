import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from make_layout import CLASSES, make_layout, make_release
from test_data_download import refused_url

from sslbench.config.settings import Data
from sslbench.data import concrete_data, open_dataset


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def layout_settings(root, **fields):
    return Data(name="layout", root=str(root), **fields)


def test_auto_is_stl10_where_its_folder_is(tmp_path):
    folder = make_layout(tmp_path)
    settings = Data(name="auto", root=str(tmp_path), url=refused_url())
    found = concrete_data(settings, tmp_path)
    assert found == replace(settings, name="stl10")
    assert concrete_data(found, tmp_path) == found
    dataset = open_dataset(found, tmp_path / "outputs", make_release(folder))
    assert dataset.name == "stl10"
    assert dataset.class_names == CLASSES


@pytest.mark.parametrize("name", ["train_X.bin", "class_names.txt"])
def test_auto_never_falls_back_from_a_partial_stl10(tmp_path, name):
    folder = make_layout(tmp_path)
    (folder / name).unlink()
    settings = Data(name="auto", root=str(tmp_path), url=refused_url())
    with pytest.raises(ValueError, match=f"{name}: missing"):
        open_dataset(concrete_data(settings, tmp_path), tmp_path)


@pytest.mark.parametrize("download", [True, False])
def test_auto_without_stl10_is_the_stand_in_and_says_so(tmp_path, caplog, download):
    settings = Data(name="auto", root=str(tmp_path / "data"), url=refused_url(), download=download)
    found = concrete_data(settings, tmp_path)
    assert found == replace(settings, name="digits")
    assert concrete_data(found, tmp_path) == found
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    message = warnings[0].getMessage()
    for part in ("NOT STL-10", "NOT comparable with the paper", settings.url, "tar -xzf"):
        assert part in message
    assert message.count("\n") > 5
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("download", [True, False])
def test_stl10_without_files_says_how_to_get_them(tmp_path, download):
    settings = Data(name="stl10", root=str(tmp_path / "data"), url=refused_url(), download=download)
    with pytest.raises(ValueError, match="STL-10 is not there") as error:
        concrete_data(settings, tmp_path)
    md5 = "91f7769df0f17e558f3565bffb0c7dfb"
    for part in (settings.url, md5, "2,640,397,119", "tar -xzf", settings.root, "data=digits"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="STL-10 is not there"):
        open_dataset(settings, tmp_path)


def test_a_layout_is_known_by_its_fingerprint(tmp_path):
    make_layout(tmp_path / "ours")
    settings = layout_settings(tmp_path / "ours")
    found = concrete_data(settings, tmp_path)
    assert found == replace(settings, fingerprint=found.fingerprint)
    assert len(found.fingerprint) == 16
    assert concrete_data(found, tmp_path) == found
    dataset = open_dataset(found, tmp_path / "outputs")
    assert (dataset.name, dataset.fingerprint) == ("ours", found.fingerprint)

    (tmp_path / "ours" / "stl10_binary" / "train_y.bin").write_bytes(bytes([1] * 20))
    for use in (concrete_data, open_dataset):
        with pytest.raises(ValueError, match=f"expected data.fingerprint={found.fingerprint}"):
            use(found, tmp_path / "outputs")


@pytest.mark.parametrize("name", ["stl10", "digits"])
def test_a_layout_does_not_pass_for_what_its_folder_is_called(tmp_path, name):
    make_layout(tmp_path / name)
    dataset = open_dataset(layout_settings(tmp_path / name), tmp_path / "outputs")
    assert dataset.name == f"layout-{name}"


def test_root_may_be_relative(tmp_path, monkeypatch):
    make_layout(tmp_path / "ours")
    monkeypatch.chdir(tmp_path / "ours")
    assert open_dataset(layout_settings("."), tmp_path / "outputs").name == "ours"


def test_the_test_file_is_divided_and_all_train_images_are_labeled(tmp_path):
    make_layout(tmp_path, num_train=20, num_test=50)
    dataset = open_dataset(layout_settings(tmp_path), tmp_path / "outputs")
    assert dataset.train_indices.tolist() == list(range(20))
    assert len(dataset.val_indices) == 10
    assert sorted([*dataset.val_indices, *dataset.test_indices]) == list(range(50))
    for indices in (dataset.train_indices, dataset.val_indices, dataset.test_indices):
        assert indices.dtype == np.int64


def test_a_fold_and_fewer_labels(tmp_path):
    make_layout(tmp_path, num_train=40, folds=True)
    fold = open_dataset(layout_settings(tmp_path, fold=3), tmp_path / "outputs").train_indices
    assert fold.tolist() == list(range(3, 23))
    settings = layout_settings(tmp_path, fold=3, num_labeled=10)
    dataset = open_dataset(settings, tmp_path / "outputs")
    assert set(dataset.train_indices) < set(fold)
    assert sorted(dataset.train_labels[dataset.train_indices]) == list(range(10))


def test_a_fold_that_is_not_there(tmp_path):
    make_layout(tmp_path)
    with pytest.raises(ValueError, match=r"data.fold=0: .*no folds"):
        open_dataset(layout_settings(tmp_path, fold=0), tmp_path / "outputs")


def test_each_class_needs_a_labeled_image(tmp_path):
    make_layout(tmp_path, num_train=9)
    with pytest.raises(ValueError, match=r"no labelled image of truck; each class"):
        open_dataset(Data(name="layout", root=str(tmp_path)), tmp_path)


def test_statistics_are_measured_once_for_each_content(tmp_path, monkeypatch):
    make_layout(tmp_path / "a")
    make_layout(tmp_path / "b", seed=1)
    outputs = tmp_path / "outputs"
    a = open_dataset(layout_settings(tmp_path / "a"), outputs)
    b = open_dataset(layout_settings(tmp_path / "b"), outputs)
    pixels = a.train_images.swapaxes(0, 1).reshape(3, -1) / 255
    assert a.mean == pytest.approx(pixels.mean(1))
    assert a.std == pytest.approx(pixels.std(1))
    assert b.mean != a.mean

    monkeypatch.setattr("sslbench.data.statistics.measure", None)
    again = open_dataset(layout_settings(tmp_path / "a", num_labeled=10), outputs)
    assert (again.mean, again.std) == (a.mean, a.std)


def test_opening_data_does_not_import_torch():
    code = "import sslbench.data, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
