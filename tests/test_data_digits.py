import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from sslbench.config.settings import Data
from sslbench.data import open_dataset
from sslbench.data.digits import load_strokes, open_digits

DIGITS = Data(name="digits")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    open_digits(folder)
    return folder


@pytest.fixture(scope="module")
def digits(outputs):
    return open_dataset(DIGITS, outputs)


def all_images(digits):
    return np.concatenate([digits.train_images, digits.unlabeled_images, digits.test_images])


def test_the_stand_in_is_the_same_everywhere(digits):
    assert digits.fingerprint == "79ab0fc75fa554c5"
    assert digits.name == "digits"
    assert digits.class_names[:3] == ("zero", "one", "two")


def test_strokes_are_those_of_load_digits(monkeypatch, tmp_path):
    strokes, labels = load_strokes()
    elsewhere = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: elsewhere)
    for found, loaded in zip((strokes, labels), load_strokes(), strict=True):
        np.testing.assert_array_equal(found, loaded)
        assert found.dtype == loaded.dtype == np.int64


def test_sizes(digits):
    assert np.bincount(digits.train_labels).tolist() == [6] * 10
    assert len(digits.unlabeled_images) == 1200
    assert len(digits.test_labels) == 537
    assert len(digits.val_indices) == 107
    assert len(digits.test_indices) == 430


def test_no_image_is_in_two_files(digits):
    assert len({image.tobytes() for image in all_images(digits)}) == 1797


def test_foreground_and_background_differ_in_luminance(digits):
    luminance = np.tensordot(all_images(digits), [0.299, 0.587, 0.114], axes=(1, 0))
    assert np.ptp(luminance, axis=(1, 2)).min() > 55


def test_images_show_upright_what_their_labels_say(digits):
    from sklearn.datasets import load_digits

    originals = load_digits()
    # The drawing's middle 80x80 pixels are the original's 8x8 cells.
    cells = digits.test_images[:, :, 8:88, 8:88].mean(1).reshape(-1, 8, 10, 8, 10).mean((2, 4))

    def normalized(images):
        flat = images.reshape(len(images), 64)
        flat = flat - flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    likeness = np.abs(normalized(cells) @ normalized(originals.images).T)  # dark on light too
    assert likeness.max(1).min() > 0.9
    assert (originals.target[likeness.argmax(1)] == digits.test_labels).mean() > 0.99


def test_it_is_drawn_once(outputs, monkeypatch):
    monkeypatch.setattr("sslbench.data.digits._write_digits", None)
    assert len(open_digits(outputs).test_labels) == 537


def test_a_process_that_drew_it_meanwhile_wins(outputs, tmp_path, monkeypatch):
    finished = outputs / "cache" / "digits-v1"
    target = tmp_path / "cache" / "digits-v1"

    def draw_while_another_finishes(folder):
        shutil.copytree(finished / "stl10_binary", folder)
        shutil.copytree(finished, target)
        (target / "from the other").touch()

    monkeypatch.setattr("sslbench.data.digits._write_digits", draw_while_another_finishes)
    assert len(open_digits(tmp_path).test_labels) == 537
    assert (target / "from the other").exists()
    assert [path.name for path in target.parent.iterdir()] == ["digits-v1"]


def test_damage_names_the_way_out(outputs, tmp_path, caplog):
    shutil.copytree(outputs, tmp_path / "outputs")
    folder = tmp_path / "outputs" / "cache" / "digits-v1"
    (folder / "stl10_binary" / "test_X.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match=f"truncated.*delete {folder}"):
        open_digits(tmp_path / "outputs")
    shutil.rmtree(folder)
    with caplog.at_level(logging.INFO):
        assert len(open_digits(tmp_path / "outputs").test_labels) == 537
    assert "drawing" in caplog.text


def test_it_has_no_folds_but_fewer_labels(outputs):
    with pytest.raises(ValueError, match=r"data.fold=3: data=digits has no folds"):
        open_dataset(Data(name="digits", fold=3), outputs)
    assert len(open_dataset(Data(name="digits", num_labeled=20), outputs).train_indices) == 20
