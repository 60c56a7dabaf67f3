"""One's own images in folders: which are used for what, how they are packed, what is refused."""

import io
import logging
import os
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
from helpers.cells import train
from helpers.folders import make_folders, make_image
from PIL import Image

from sslbench.data import open_dataset
from sslbench.data.content import read_digests
from sslbench.data.decode import decode
from sslbench.data.folder import Folder
from sslbench.data.packing import CHUNK_IMAGES


def folder(root, **fields):
    return Folder(root=str(root), side=32, **fields)


def encoded(image, suffix="png", **more):
    file = io.BytesIO()
    image.save(file, suffix, **more)
    return file.getvalue()


def upright(pixels):
    """Return `(side, side, 3)` pixels of what was decoded, columns first."""
    return pixels.transpose(2, 1, 0)


class TestDecode:
    def test_the_shorter_side_is_resized_and_the_centre_cropped(self):
        image = Image.new("RGB", (200, 100), "red")
        image.paste("blue", (50, 0, 150, 100))  # the central square
        found = upright(decode(encoded(image), 32))
        assert (found[:, 3:-3] == (0, 0, 255)).all()
        assert found[:, 0].mean(0)[2] > 200  # as its neighbours, it reaches beyond the square
        exact = make_image((48, 48))
        assert (upright(decode(encoded(exact), 48)) == np.asarray(exact)).all()
        assert decode(encoded(make_image((20, 600))), 224).shape == (3, 224, 224)

    def test_a_camera_that_was_turned_gives_upright_images(self):
        image = Image.new("RGB", (64, 64), "black")
        image.paste("white", (0, 0, 64, 32))  # the upper half, which the camera had at its left
        turned = image.rotate(90)
        exif = Image.Exif()
        exif[0x0112] = 6
        found = upright(decode(encoded(turned, "jpeg", exif=exif, quality=95), 32))
        assert found[:15].min() > 200
        assert found[17:].max() < 55

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
    @pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "tiff"])
    def test_every_mode_becomes_rgb(self, mode, suffix):
        gray = Image.new("L", (40, 40), 255)
        image = Image.fromarray(np.full((40, 40), 65_535, np.uint16)) if mode == "I;16" else gray
        image = image if mode == "I;16" else image.convert(mode)
        try:
            file = encoded(image, suffix)
        except (OSError, ValueError):
            pytest.skip(f"{suffix} has no {mode}")
        found = decode(file, 32)
        assert found.shape == (3, 32, 32)
        assert found.min() >= 250


def test_folders_are_splits_classes_and_images_of_any_form(tmp_path):
    make_folders(tmp_path, train=10, test=10, unlabeled=7)
    make_image().save(tmp_path / "unlabeled" / "more.webp")
    (tmp_path / "unlabeled" / "deep" / "er").mkdir(parents=True)
    make_image(seed=5).save(tmp_path / "unlabeled" / "deep" / "er" / "é.jpg")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    dataset = open_dataset(folder(tmp_path), tmp_path / "outputs")
    assert dataset.name == tmp_path.name
    assert dataset.files.class_names == ("cat", "dog")
    assert dataset.counts == {"labeled": 20, "unlabeled": 9, "val": 4, "test": 16}
    images, labels = dataset.files.images["train"], dataset.files.labels["train"]
    assert isinstance(images, np.memmap)
    last = decode(tmp_path / "train" / "dog" / "009.png", 32)
    assert (images[19] == last.swapaxes(1, 2)).all()
    assert labels.tolist() == [0] * 10 + [1] * 10


@pytest.mark.parametrize(
    ("splits", "fields", "files", "counts"),
    [
        ({"train": 20}, {}, "train train train unlabeled", (26, 0, 6, 8)),
        ({"train": 20, "val": 5}, {}, "train val train unlabeled", (32, 0, 10, 8)),
        ({"train": 20, "test": 10}, {}, "train test test unlabeled", (40, 0, 4, 16)),
        (
            {"train": 20, "test": 10},
            {"val_from": "train", "unlabeled_from": "train", "num_labeled": "10%"},
            "train train test train",
            (4, 32, 8, 20),
        ),
    ],
)
def test_what_is_missing_is_cut_from_what_is_there(tmp_path, splits, fields, files, counts):
    make_folders(tmp_path, **splits)
    dataset = open_dataset(folder(tmp_path, **fields), tmp_path / "outputs")
    assert " ".join(dataset.describe()["splits"].values()) == files
    assert tuple(dataset.counts.values()) == counts
    for held_out in (dataset.splits.val, dataset.splits.test):
        for learnt_from in (dataset.splits.train, dataset.splits.unlabeled):
            same = learnt_from.file == held_out.file
            assert not (same and set(learnt_from.indices) & set(held_out.indices))


NAMES = ("a b", "c,d", "$e", "猫", "f_g", "100%")


@pytest.mark.parametrize("classes", [NAMES, [f"class {i}" for i in range(300)]])
def test_classes_are_any_number_of_any_names(tmp_path, classes):
    make_folders(tmp_path / "動物", classes=classes, train=1, val=1, test=1, suffix="bmp")
    found = folder(tmp_path / "動物").concrete(tmp_path)
    dataset = open_dataset(found, tmp_path)
    assert set(dataset.files.class_names) == set(classes)
    assert dataset.name == "動物"
    assert dataset.files.labels["train"].max() == len(classes) - 1


def test_a_link_in_a_circle_is_no_folder(tmp_path):
    make_folders(tmp_path, train=20)
    (tmp_path / "self").symlink_to("self")
    open_dataset(folder(tmp_path), tmp_path / "outputs")


def test_a_broken_image_is_left_out_and_told_and_many_are_refused(tmp_path):
    make_folders(tmp_path, train=60, test=6)
    broken = tmp_path / "train" / "cat" / "003.png"
    broken.write_bytes(broken.read_bytes()[:400])
    os.mkfifo(tmp_path / "test" / "dog" / "pipe.png")
    (tmp_path / "test" / "dog" / "link.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"1 of 120 train .*cat/003\.png .*data\.max_broken="):
        folder(tmp_path, max_broken=0.001).concrete(tmp_path / "outputs")
    dataset = open_dataset(folder(tmp_path, max_broken=0.2), tmp_path / "outputs")
    assert dataset.counts["labeled"] == 119
    assert any("2 of 14 test images" in note and "pipe.png" in note for note in dataset.notes)
    assert any("cat/003.png" in note for note in dataset.notes)
    whole = decode(tmp_path / "train" / "cat" / "004.png", 32).swapaxes(1, 2)
    assert (dataset.files.images["train"][3] == whole).all()
    with pytest.raises(ValueError, match=r"1 of 120 train images"):
        open_dataset(folder(tmp_path, max_broken=0.0), tmp_path / "outputs")


def test_one_set_is_packed_once_from_a_folder_that_may_be_read_only_and_go(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    root, outputs = make_folders(tmp_path / "set", train=12, test=8), tmp_path / "outputs"
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    found = folder(root).concrete(outputs)
    assert caplog.text.count("packed in") == 1
    assert folder(root).concrete(outputs) == found
    other = folder(root, name="mine").concrete(outputs)
    assert (other.name, other.fingerprint) == ("mine", found.fingerprint)
    assert caplog.text.count("packed in") == 1
    root.rename(tmp_path / "gone")
    assert open_dataset(found, outputs).counts["labeled"] == 24
    for path in (tmp_path / "gone").rglob("*"):
        path.chmod(0o755)


def test_changed_images_are_another_set_and_damage_is_found(tmp_path):
    outputs = tmp_path / "outputs"
    root = make_folders(tmp_path / "set", train=12, test=8)
    before = folder(root).concrete(outputs)
    make_image(seed=99).save(root / "train" / "cat" / "000.png")
    after = folder(root).concrete(outputs)
    assert after.fingerprint != before.fingerprint
    shutil.rmtree(outputs / "cache" / "packed" / before.fingerprint)
    with pytest.raises(ValueError, match=f"expected data.fingerprint={before.fingerprint}"):
        open_dataset(before, outputs)
    pack = outputs / "cache" / "packed" / after.fingerprint
    with (pack / "train_X.bin").open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(ValueError, match=f"damaged.*delete {pack}"):
        open_dataset(after, outputs)


def test_packing_goes_on_where_it_was_cut(tmp_path, monkeypatch):
    root, outputs = tmp_path / "set", tmp_path / "outputs"
    make_folders(root, train=1 + CHUNK_IMAGES, test=4, suffix="bmp")
    whole = folder(root).concrete(tmp_path / "others").fingerprint
    decoded = []

    def cut_after(number):
        def decode_or_die(item, side):
            decoded.append(item)
            if len(decoded) > number:
                raise KeyboardInterrupt
            return decode(item, side)

        return decode_or_die

    monkeypatch.setattr("sslbench.data.packing.decode", cut_after(CHUNK_IMAGES + 20))
    with pytest.raises(KeyboardInterrupt):
        folder(root).concrete(outputs)
    decoded.clear()
    monkeypatch.setattr("sslbench.data.packing.decode", cut_after(10**6))
    assert folder(root).concrete(outputs).fingerprint == whole
    assert len(decoded) <= CHUNK_IMAGES + 2 + 8
    assert not list((outputs / "cache" / "packed").glob(".*.packing"))


def test_processes_pack_as_threads_do(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "set", train=CHUNK_IMAGES, test=4, suffix="bmp")
    (root / "train" / "cat" / "007.bmp").write_bytes(b"BM")
    by_threads = folder(root).concrete(tmp_path / "threads")
    monkeypatch.setattr("sslbench.data.packing.CHUNKS_FOR_PROCESSES", 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert folder(root).concrete(tmp_path / "processes") == by_threads
    (note,) = open_dataset(by_threads, tmp_path / "processes").files.notes
    assert "cat/007.bmp (UnidentifiedImageError" in note


def test_a_class_without_a_test_image_is_told(tmp_path):
    make_folders(tmp_path, classes=("cat", "dog", "cow"), train=10, test=10)
    shutil.rmtree(tmp_path / "test" / "cow")
    notes = open_dataset(folder(tmp_path), tmp_path / "outputs").notes
    assert [note.partition(": ")[2].partition(":")[0] for note in notes] == [
        "no validation image of 1 of 3 classes, cow",
        "no test image of 1 of 3 classes, cow",
    ]


def test_a_file_that_could_not_be_read_once_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"image")
    os.utime(path, (0, 0))
    monkeypatch.setattr("sslbench.files.checksums.SETTLED_NS", -(10**18))
    whole = read_digests(tmp_path, ["a.png"], tmp_path / "elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr("sslbench.data.content.read_small", Mock(side_effect=OSError))
        assert read_digests(tmp_path, ["a.png"], tmp_path / "memory") == [bytes(32)]
    assert read_digests(tmp_path, ["a.png"], tmp_path / "memory") == whole


REFUSED = {
    "train is not there": lambda root: (root / "train").rename(root / "training"),
    "holds 1 folders of images": lambda root: shutil.rmtree(root / "train" / "cat"),
    "no image in empty": lambda root: (root / "train" / "empty").mkdir(),
    "zebra: no such class": lambda root: make_folders(root, classes=["zebra"], test=1),
    "outside the classes' folders": lambda root: make_image().save(root / "train" / "a.png"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_learnt_from_is_refused(message, tmp_path):
    make_folders(tmp_path, train=2, test=2)
    REFUSED[message](tmp_path)
    with pytest.raises(ValueError, match=message):
        folder(tmp_path).concrete(tmp_path / "outputs")


def test_a_cell_on_ones_own_images_needs_no_others_unless_it_learns_from_them(tmp_path):
    root, outputs = make_folders(tmp_path / "our pets", train=10, test=10), tmp_path / "outputs"
    data = ("data=folder", f"data.root='{root}'", "data.side=32", "model.blocks=4", "steps=2")
    cell = train(outputs, *data, "model.channels=4")
    record = cell.folder.record()
    assert (record.status, record.data["name"], record.data["side"]) == ("done", "our pets", 32)
    assert "-our_pets-s0-" in cell.id
    assert "our pets" in (cell.folder.path / "card.md").read_text()
    semi = (*data, "method=semi", "method.unlabeled_batch_size=8", "ratio=all", "model.channels=4")
    failed = train(outputs, *semi).folder.record()
    assert "data.unlabeled_from=train" in failed.error["message"]
    done = train(outputs, *semi, "data.unlabeled_from=train", "data.num_labeled=50%")
    assert done.folder.record().status == "done"
