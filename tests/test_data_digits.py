"""The built-in stand-in."""

import logging
import shutil

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sslbench.config.settings import Data
from sslbench.data import open_dataset
from sslbench.data.digits import open_digits


@pytest.fixture(scope="module")
def stand_in(outputs):
    return open_dataset(Data(name="digits"), outputs)


def test_the_stand_in_is_the_same_everywhere(stand_in):
    assert stand_in.name == "digits"
    assert stand_in.files.fingerprint == "0fa70332a54bb1bd"
    assert stand_in.files.class_names[:3] == ("zero", "one", "two")
    assert np.bincount(stand_in.files.train_labels).tolist() == [6] * 10
    assert (len(stand_in.files.unlabeled_images), len(stand_in.files.test_labels)) == (1200, 537)
    assert (len(stand_in.val_indices), len(stand_in.test_indices)) == (107, 430)
    parts = [getattr(stand_in.files, f"{it}_images") for it in ("train", "unlabeled", "test")]
    assert len({image.tobytes() for images in parts for image in images}) == 1797, "none twice"


def test_images_show_upright_what_their_labels_say(stand_in):
    originals = load_digits()
    # The drawing's middle 80x80 pixels are the original's 8x8 cells.
    middle = stand_in.files.test_images[:, :, 8:88, 8:88].mean(1)
    cells = middle.reshape(-1, 8, 10, 8, 10).mean((2, 4))

    def normalized(images):
        flat = images.reshape(len(images), 64)
        flat = flat - flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    likeness = np.abs(normalized(cells) @ normalized(originals.images).T)  # dark on light too
    assert likeness.max(1).min() > 0.9
    assert (originals.target[likeness.argmax(1)] == stand_in.files.test_labels).mean() > 0.99


def test_it_is_drawn_once_and_damage_names_the_way_out(outputs, tmp_path, caplog):
    shutil.copytree(outputs / "cache", tmp_path / "cache")
    folder = tmp_path / "cache" / "digits-v1"
    with caplog.at_level(logging.INFO):
        assert len(open_digits(tmp_path).test_labels) == 537
        assert "drawing" not in caplog.text
        flipped = bytearray((folder / "stl10_binary" / "test_X.bin").read_bytes())
        flipped[len(flipped) // 2] ^= 1
        (folder / "stl10_binary" / "test_X.bin").write_bytes(flipped)
        with pytest.raises(ValueError, match=f"damaged.*delete {folder}"):
            open_digits(tmp_path)
        (folder / "stl10_binary" / "test_X.bin").write_bytes(b"short")
        with pytest.raises(ValueError, match=f"truncated.*delete {folder}"):
            open_digits(tmp_path)
        shutil.rmtree(folder)
        assert len(open_digits(tmp_path).test_labels) == 537
        assert "drawing" in caplog.text
