"""STL-10's binary layout, byte by byte."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.layouts import CLASSES, make_layout

from sslbench.data import content
from sslbench.data.layout import IMAGE_BYTES, read_layout
from sslbench.files import checksums

MICRO = Path(__file__).resolve().parents[2] / "shared" / "data" / "stl10_micro" / "stl10_binary"


def read(folder):
    return read_layout(folder, "copy it again", folder.parent / "memory")


def fingerprint(folder):
    return read(folder).fingerprint


def test_an_asymmetric_image_is_read_upright(tmp_path):
    folder = make_layout(tmp_path, num_unlabeled=2)
    channel, row, column = 1, 5, 70
    stored = bytearray(2 * IMAGE_BYTES)
    stored[IMAGE_BYTES + channel * 96 * 96 + column * 96 + row] = 200
    (folder / "unlabeled_X.bin").write_bytes(stored)
    images = read(folder).images["unlabeled"]
    assert images.shape == (2, 3, 96, 96)
    assert images[1, channel, row, column] == images.sum(dtype=int) == 200


def test_images_are_views_of_the_file_labels_start_from_0_and_folds_are_optional(tmp_path):
    layout = read(make_layout(tmp_path / "a", num_train=12, num_test=10))
    assert isinstance(layout.images["unlabeled"], np.memmap)
    assert not layout.images["unlabeled"].flags.writeable
    assert layout.labels["train"].tolist() == [*range(10), 0, 1]
    assert layout.class_names == CLASSES
    assert layout.folds is None
    folds = read(make_layout(tmp_path / "b", folds=True)).folds
    assert [fold.tolist() for fold in folds[8:]] == [list(range(8, 18)), list(range(9, 19))]


DAMAGES = {
    "missing": ("test_y.bin", None, "missing"),
    "truncated": ("unlabeled_X.bin", bytes(55_295), r"truncated: 55,295 bytes.*27,648"),
    "empty": ("train_X.bin", b"", "empty"),
    "too few images": ("train_X.bin", bytes(3 * IMAGE_BYTES), "20 labels, expected 3"),
    "too few labels": ("test_y.bin", bytes([1] * 19), "19 labels, expected 30"),
    "label 0": ("train_y.bin", bytes([1] * 19 + [0]), "label 0 at position 19, expected 1 to 10"),
    "one class": ("class_names.txt", b"airplane\n", "at least two"),
    "classes twice": ("class_names.txt", b"bird\nbird\n", "one distinct name per line"),
    "an escape": ("class_names.txt", b"\x1b[2Jbird\ncat\n", "line 1, .*x1b.2Jbird., holds control"),
    "two in a line": ("class_names.txt", b"bird\x0bcat\ndog\n", "line 1.*control characters"),
    "turned around": ("class_names.txt", "cat\na\u202eb".encode(), "line 2.*turn the text around"),
    "not text": ("class_names.txt", b"\xff\xfe\n", "not UTF-8"),
    "nine folds": ("fold_indices.txt", b"0 1\n" * 9, "9 lines, expected 10"),
    "fold out of range": ("fold_indices.txt", b"0 1\n" * 9 + b"20\n", r"line 10 has 20 .* 0 to 19"),
    "empty fold": ("fold_indices.txt", b"0 1\n" * 8 + b"\n1\n", "line 9 has no index"),
    "twice in a fold": (
        "fold_indices.txt",
        b"0 1\n" * 9 + b"1 2 1\n",
        "line 10 has 3 .* of 2 images",
    ),
    "words for folds": ("fold_indices.txt", b"one two\n" * 10, "expected integers"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_names_the_file_the_fault_and_the_way_out(tmp_path, damage):
    name, contents, message = DAMAGES[damage]
    folder = make_layout(tmp_path)
    if contents is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(contents)
    with pytest.raises(ValueError, match=message) as error:
        read(folder)
    assert all(part in str(error.value) for part in (str(folder), name, "copy it again"))


@pytest.mark.parametrize("place", ["unlabeled_X.bin 99", "train_y.bin 10", "fold_indices.txt 40"])
def test_the_fingerprint_follows_the_content_alone_and_sees_a_changed_byte(tmp_path, place):
    name, position = place.split()
    folder = make_layout(tmp_path / "here", folds=True)
    there = Path(shutil.copytree(folder, tmp_path / "there"))
    assert fingerprint(there) == fingerprint(folder)
    contents = bytearray((there / name).read_bytes())
    contents[int(position)] ^= 2
    times = (there / name).stat().st_atime_ns, (there / name).stat().st_mtime_ns
    (there / name).write_bytes(contents)
    os.utime(there / name, ns=times)  # as if it had not been touched
    assert fingerprint(there) != fingerprint(folder)


def test_a_file_that_was_not_touched_is_hashed_once(tmp_path, monkeypatch, caplog):
    folder, hashed, hash_pieces = make_layout(tmp_path), [], content.hash_pieces
    monkeypatch.setattr(content, "hash_pieces", lambda *it: hashed.append(it) or hash_pieces(*it))
    monkeypatch.setattr(checksums, "SETTLED_NS", 0)  # what was written just now may change again
    assert fingerprint(folder) == fingerprint(folder)
    assert len(hashed) == 3
    (folder / "train_X.bin").write_bytes(bytes(20 * IMAGE_BYTES))
    fingerprint(folder)
    assert len(hashed) == 4
    assert "train_X.bin has changed since it was last used" in caplog.text
    for remembered in (tmp_path / "memory").iterdir():
        remembered.write_bytes(b"torn")
    assert fingerprint(folder) == fingerprint(folder)
    assert len(hashed) == 7


@pytest.mark.skipif(not MICRO.exists(), reason="the few real STL-10 images are not here")
def test_real_stl10_bytes_are_read_rightly():
    layout = read(MICRO)
    first = " ".join(layout.class_names[label] for label in layout.labels["test"][:10])
    assert first == "horse monkey dog airplane cat bird bird bird deer deer"
    assert (len(layout.images["train"]), len(layout.images["unlabeled"])) == (50, 246)
    blue = layout.images["test"][3, 2].astype(float)  # an airplane under a blue sky
    assert blue[:30].mean() > 2 * blue[-30:].mean()
