"""Images in Parquet files, and those that torchvision knows."""

import io
import json
import sys

import numpy as np
import pytest
from helpers.folders import make_image

from sslbench.data import open_dataset
from sslbench.data.decode import decode
from sslbench.data.parquet import Parquet
from sslbench.data.torchvision import Torchvision


def encoded(seed, suffix="png"):
    file = io.BytesIO()
    make_image((40, 36), seed).save(file, suffix)
    return file.getvalue()


@pytest.fixture
def write():
    """Return what writes a table of columns, with Hugging Face's description of them."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    def write_columns(path, columns, features=None, **more):
        table = arrow.table(columns)
        if features is not None:
            described = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": described})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, path, **more)

    return write_columns


def parquet(root, **fields):
    return Parquet(root=str(root), side=32, **fields)


FEATURES = {
    "img": {"_type": "Image"},
    "fine": {"_type": "ClassLabel", "names": ["a cat", "犬"]},
    "coarse": {"dtype": "int64", "_type": "Value"},
}


def test_the_hubs_files_tell_columns_classes_and_splits(tmp_path, write):
    images = [{"bytes": encoded(seed), "path": None} for seed in range(40)]
    labels = [seed % 2 for seed in range(40)]
    for number in range(2):
        rows = slice(20 * number, 20 * number + 20)
        columns = {"img": images[rows], "fine": labels[rows], "coarse": [0] * 20}
        path = tmp_path / "data" / f"train-0000{number}-of-00002.parquet"
        write(path, columns, FEATURES, row_group_size=7)
    more = {"img": images[:0:-3], "fine": labels[:0:-3], "coarse": [0] * 13}
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", more, FEATURES)
    dataset = open_dataset(parquet(tmp_path, max_flawed=1.0), tmp_path / "outputs")
    assert dataset.files.class_names == ("a cat", "犬")
    assert dataset.files.val_from == "val"
    assert dataset.files.labels["train"].tolist() == labels
    expected = [decode(image["bytes"], 32).swapaxes(1, 2) for image in images]
    assert (dataset.files.images["train"] == np.stack(expected)).all()
    assert any("val images are among the train images" in note for note in dataset.notes)


def test_plain_columns_texts_as_labels_and_broken_rows(tmp_path, write):
    images = [encoded(seed, "jpeg") for seed in range(19)] + [None]
    labels = ["b", "a"] * 10
    write(tmp_path / "labeled-train.parquet", {"jpeg": images, "label": labels})
    write(tmp_path / "unlabeled-0.parquet", {"jpeg": images[:5]})
    found = parquet(tmp_path, max_broken=0.05, max_flawed=1.0)
    dataset = open_dataset(found, tmp_path / "outputs")
    assert dataset.files.class_names == ("a", "b")
    assert dataset.files.labels["train"].tolist() == ([1, 0] * 10)[:19]
    assert len(dataset.files.images["unlabeled"]) == 5
    assert any("labeled-train.parquet, row 19" in note for note in dataset.notes)
    for column, message in (("no", "there are jpeg, label"), ("label", "20 of 20 train")):
        with pytest.raises(ValueError, match=message):
            parquet(tmp_path, image_column=column).concrete(tmp_path / "outputs")
    for missing in (None, float("nan")):
        write(tmp_path / "test.parquet", {"jpeg": images, "label": [missing] * 20})
        with pytest.raises(ValueError, match="test: None has no label"):
            found.concrete(tmp_path / "outputs")
    write(tmp_path / "test.parquet", {"jpeg": images, "fine_label": labels})
    with pytest.raises(ValueError, match="label in train and fine_label in test; name one column"):
        found.concrete(tmp_path / "outputs")
    write(tmp_path / "test.parquet", {"jpeg": images[:0], "label": labels[:0]})
    assert open_dataset(found, tmp_path / "outputs").counts == dataset.counts


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "train.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r'pip install "sslbench\[data\]"'):
        parquet(tmp_path).concrete(tmp_path / "outputs")
    with pytest.raises(ValueError, match="no training images"):
        parquet(tmp_path / "none").concrete(tmp_path / "outputs")


def idx(array):
    """Return an array as MNIST's files have it."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def test_torchvisions_sets_are_read_from_their_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    labels = np.arange(50, dtype=np.uint8) % 10
    for name, rows in (("train", slice(0, 30)), ("t10k", slice(30, 50))):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(digits[rows]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels[rows]))
    data = Torchvision(root=str(tmp_path), side=32, dataset="MNIST", val_from="train")
    found = data.concrete(tmp_path / "outputs")
    dataset = open_dataset(found, tmp_path / "outputs")
    assert dataset.name == "MNIST"
    assert len(dataset.files.class_names) == 10
    assert dataset.counts == {"labeled": 20, "unlabeled": 0, "val": 10, "test": 20}
    gray, *others = dataset.files.images["train"][0]
    assert (others == gray).all()
    assert np.corrcoef(gray[::8, ::8].ravel(), digits[0, ::7, ::7].ravel())[0, 1] > 0.5
    for name, message in (("CIFAR10", "data.download=true"), ("Nothing", "such as CIFAR10")):
        with pytest.raises(ValueError, match=message):
            Torchvision(root=str(tmp_path), dataset=name).concrete(tmp_path / "outputs")
