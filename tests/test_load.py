"""load_encoder: a finished cell's encoder, or why there is none."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cells import SMALL, compose, train
from helpers.synthetic import edit_record
from torch import nn
from torch.testing import assert_close

import sslbench
from sslbench.cell.record import load_record
from sslbench.cell.soundness import manifest
from sslbench.config.as_json import settings_to_json
from sslbench.data import open_dataset

THIN = "model=wrn45_2 model.blocks_per_stage=1 model.strides=[2,2,2,2]"
METHODS = {
    "supervised": f"method=supervised {SMALL} steps=4",
    "barlow": f"method=barlow {THIN} steps=2",
    "semi": f"method=semi {SMALL} steps=2 method.unlabeled_batch_size=8 method.ema=0.9",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    found = {
        name: train(outputs, "precision=fp32", *words.split()) for name, words in METHODS.items()
    }
    assert [cell.folder.state() for cell in found.values()] == ["done"] * 3
    return found


@pytest.fixture(scope="module")
def encoder(cells):
    return sslbench.load_encoder(cells["supervised"].folder.path)


@pytest.fixture
def copied(cells, tmp_path):
    """A copy of a finished cell's folder, to be damaged."""
    cell = cells["supervised"]
    return Path(shutil.copytree(cell.folder.path, tmp_path / cell.id))


def save_as_its_own(contents, cell):
    """Save weights for which the cell's record vouches."""
    record = load_record(cell)
    weights = cell / record.results["weights"]
    torch.save(contents, weights)
    record.files = manifest(cell)
    record.save(cell)
    return weights


@pytest.mark.parametrize("method", METHODS)
def test_embeddings_are_those_of_the_evaluation(method, cells):
    cell = cells[method]
    with np.load(cell.folder.path / "embeddings-test.npz") as file:
        expected, indices = torch.from_numpy(file["embeddings"][:32]), file["indices"][:32]
    files = open_dataset(cell.settings.data, Path(cell.settings.outputs)).files
    images = torch.from_numpy(np.ascontiguousarray(files.images["test"][indices]))
    state = torch.get_rng_state()
    encoder = sslbench.load_encoder(cell.id, outputs=cell.settings.outputs)
    assert torch.equal(torch.get_rng_state(), state), "loading draws no random numbers"
    found = encoder(images)
    assert (found.shape, found.dtype) == ((32, encoder.embedding_dim), torch.float32)
    assert encoder.class_names == list(files.class_names)
    # safetensors refuses others.
    assert all(weights.is_contiguous() for weights in encoder.encoder.state_dict().values())
    assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert_close(encoder(images.double() / 255), found)


def test_it_is_a_plain_module_that_comes_in_eval_mode_and_learns_if_it_is_trained(encoder):
    assert not any(module.training for module in encoder.modules())
    model = nn.Sequential(copy.deepcopy(encoder), nn.Linear(encoder.embedding_dim, 2)).train()
    assert model[0].encoder.training
    model(torch.rand(4, 3, 96, 96)).sum().backward()
    assert all(weights.grad is not None for weights in model.parameters())
    half = copy.deepcopy(encoder).half()
    assert (half.mean.dtype, next(half.parameters()).dtype) == (torch.half, torch.half)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_it_leaves_with_its_normalisation(encoder):
    images = torch.rand(2, 3, 96, 96)
    for left in (
        torch.export.export(encoder, (images,)).module(),
        torch.jit.trace(encoder, images),
    ):
        assert_close(left(images), encoder(images))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"\(2, 3, 32, 32\): resize"),
        (torch.zeros(4, 96, 96, 3), r"\(4, 96, 96, 3\): .* channels come first: permute\(0, 3, 1"),
        (torch.full((2, 3, 96, 96), 255.0), "images from 255 to 255: .* divide by 255"),
        (torch.linspace(-1, 1, 2 * 3 * 96 * 96).reshape(2, 3, 96, 96), "images from -1 to 1: "),
        (torch.zeros(2, 3, 96, 96).index_fill_(3, torch.tensor(5), torch.nan), "from nan to nan: "),
        (torch.zeros(2, 3, 96, 96, dtype=torch.int64), "int64: pass uint8"),
    ],
)
def test_wrong_images_are_refused(images, message, encoder):
    with pytest.raises(ValueError, match=message):
        encoder(images)


HALF = torch.rand(2, 3, 96, 96).half()
BITS = np.random.default_rng(0).integers(0, 2, (2, 3, 96, 96), dtype=np.uint8)
BITS.flags.writeable = False
BOARD = torch.arange(32)[:, None].add(torch.arange(32)).remainder(2).float().expand(2, 3, 32, 32)
RESIZED = nn.functional.interpolate(BOARD, size=(96, 96), mode="bicubic")  # beyond 0 and 1


@pytest.mark.parametrize("images", [HALF, BITS, BITS.astype(float), BITS[:, ::-1], RESIZED])
@pytest.mark.filterwarnings("error")
def test_images_of_all_types_are_taken(images, encoder):
    same = torch.tensor(np.array(images)) if isinstance(images, np.ndarray) else images.float()
    assert encoder(images).isfinite().all()
    assert_close(encoder(images), encoder(same))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("results/weights", ...),
        ("data/std", "grey"),
        ("settings/model", ...),
        ("settings/model/type", "sslbench.optimizers.torch_optimizers.Adam"),
        ("settings/model/type", "sslbench.models.No"),
        ("settings/model/heads", 8),
    ],
)
def test_records_of_another_version_are_refused(place, value, copied):
    edit_record(copied, place, value)
    with pytest.raises(ValueError, match=f"{copied}/record.json: not as this version writes it"):
        sslbench.load_encoder(copied)


@pytest.mark.parametrize("contents", [[1, 2], {}, {1: torch.zeros(3)}, {"0.weight": 1}], ids=str)
def test_other_weights_are_refused(contents, copied):
    weights = save_as_its_own(contents, copied)
    with pytest.raises(ValueError, match=f"{weights}: not the weights of model=convnet"):
        sslbench.load_encoder(copied)


def test_torn_weights_and_those_of_another_model_are_refused(copied):
    record = load_record(copied)
    record.settings["model"] = settings_to_json(compose("model=resnet18"))["model"]
    record.save(copied)
    with pytest.raises(ValueError, match="not the weights of model=resnet18"):
        sslbench.load_encoder(copied)


@pytest.mark.parametrize("damage", ["a bit", "cut", "another cell's", "gone"])
def test_damaged_weights_and_those_of_another_cell_are_refused(damage, copied, cells):
    weights = copied / load_record(copied).results["weights"]
    contents = bytearray(weights.read_bytes())
    contents[len(contents) // 2] ^= 1
    if damage == "cut":
        del contents[-100:]
    if damage == "another cell's":
        contents = (cells["barlow"].folder.path / "last.pt").read_bytes()
    weights.write_bytes(contents)
    if damage == "gone":
        weights.unlink()
    with pytest.raises(ValueError, match=f"{weights}: (damaged|gone), .*resume=restart"):
        sslbench.load_encoder(copied)


def test_a_renamed_folder_is_refused(copied):
    renamed = copied.rename(copied.parent / "mine")
    with pytest.raises(ValueError, match=f"the record of another cell, {copied.name}, .*renamed"):
        sslbench.load_encoder(renamed)


@pytest.mark.parametrize("cell", ["", "cells", "nonsense"])
def test_what_is_no_cell_is_refused_with_those_there_are(cell, cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    what = f"no cell {cell}: give a cell's folder"
    with pytest.raises(ValueError, match=f"{what}.*there are 3, such as"):
        sslbench.load_encoder(cell, outputs=cells["semi"].settings.outputs)
    with pytest.raises(ValueError, match=f"{what}.*there are none"):
        sslbench.load_encoder(cell, outputs=tmp_path)


def test_unfinished_cells_are_refused(tmp_path):
    cell = train(tmp_path, *METHODS["supervised"].split(), "optimizer.lr=1e30")
    with pytest.raises(ValueError, match=r"not finished \(failed\)"):
        sslbench.load_encoder(cell.folder.path)
    (cell.folder.path / "record.json").unlink()
    with pytest.raises(ValueError, match=r"not finished \(no record yet\)"):
        sslbench.load_encoder(cell.id, outputs=tmp_path)
