"""The built-in stand-in."""

import logging
import shutil

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sslbench.data import open_dataset
from sslbench.data.digits import Digits, open_digits


@pytest.fixture(scope="module")
def stand_in(outputs):
    return open_dataset(Digits(), outputs)


def test_the_stand_in_is_the_same_everywhere(stand_in):
    assert stand_in.name == "digits"
    assert stand_in.files.fingerprint == "0fa70332a54bb1bd"
    assert stand_in.files.class_names[:3] == ("zero", "one", "two")
    assert np.bincount(stand_in.files.labels["train"]).tolist() == [6] * 10
    assert len(stand_in.files.labels["test"]) == 537
    assert stand_in.counts == {"labeled": 60, "unlabeled": 1200, "val": 107, "test": 430}
    parts = stand_in.files.images.values()
    assert len({image.tobytes() for images in parts for image in images}) == 1797, "none twice"


def test_images_show_upright_what_their_labels_say(stand_in):
    originals = load_digits()
    # The drawing's middle 80x80 pixels are the original's 8x8 cells.
    middle = stand_in.files.images["test"][:, :, 8:88, 8:88].mean(1)
    cells = middle.reshape(-1, 8, 10, 8, 10).mean((2, 4))

    def normalized(images):
        flat = images.reshape(len(images), 64)
        flat = flat - flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    likeness = np.abs(normalized(cells) @ normalized(originals.images).T)  # dark on light too
    assert likeness.max(1).min() > 0.9
    assert (originals.target[likeness.argmax(1)] == stand_in.files.labels["test"]).mean() > 0.99


def test_it_is_drawn_once_and_damage_names_the_way_out(outputs, tmp_path, caplog):
    shutil.copytree(outputs / "cache", tmp_path / "cache")
    folder = tmp_path / "cache" / "digits-v1"
    with caplog.at_level(logging.INFO):
        assert len(open_digits(tmp_path).labels["test"]) == 537
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
        assert len(open_digits(tmp_path).labels["test"]) == 537
        assert "drawing" in caplog.text
