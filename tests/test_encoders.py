"""A finished cell's encoder."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from crash import tiny_cell, train
from sslbench.config.presets import compose_settings
from torch import nn

import sslbench
from sslbench.cell.record import load_record, settings_to_dict
from sslbench.data import open_dataset

METHODS = {
    "supervised": ("method=supervised", "steps=4", "precision=fp32"),
    "barlow": ("method=barlow", "steps=2", "precision=fp32"),
    "semi": (
        "method=semi",
        "steps=2",
        "precision=fp32",
        "method.unlabeled_batch_size=8",
        "method.ema=0.9",
    ),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for overrides in METHODS.values():
        assert train(folder, *overrides).status == "done"
    return folder


def cell_of(outputs, method):
    return tiny_cell(outputs, *METHODS[method])[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("as_floats", [False, True])
def test_embeddings_are_those_of_the_evaluation(method, as_floats, outputs):
    cell = cell_of(outputs, method)
    settings, _ = tiny_cell(outputs, *METHODS[method])
    dataset = open_dataset(settings.data, outputs)
    with np.load(cell.path / "embeddings-test.npz") as file:
        saved, indices = file["embeddings"].astype(np.float32), file["indices"][:32]
    images = torch.from_numpy(np.ascontiguousarray(dataset.test_images[indices]))
    if as_floats:
        images = images.float() / 255
    encoder = sslbench.load_encoder(cell.cell_id, outputs=outputs)
    found = encoder(images)
    assert found.dtype == torch.float32
    assert found.shape == (32, encoder.embedding_dim)
    torch.testing.assert_close(found, torch.from_numpy(saved[:32]), rtol=2e-3, atol=1e-3)


def test_it_is_frozen_also_within_a_module_that_learns(outputs):
    encoder = sslbench.load_encoder(cell_of(outputs, "supervised").path)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    model = nn.Sequential(encoder, nn.Linear(encoder.embedding_dim, 2)).train()
    assert not any(module.training for module in encoder.modules())
    assert model[1].training
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model(torch.rand(4, 3, 96, 96)).sum().backward()
    assert all((before[name] == value).all() for name, value in encoder.state_dict().items())
    assert model[1].weight.grad is not None


def test_loading_draws_no_random_numbers(outputs):
    state = torch.get_rng_state()
    sslbench.load_encoder(cell_of(outputs, "supervised").path)
    assert (torch.get_rng_state() == state).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"\(2, 3, 32, 32\): resize"),
        (torch.zeros(3, 96, 96, dtype=torch.uint8), r"\(3, 96, 96\)"),
        (torch.zeros(4, 96, 96, 3), r"\(4, 96, 96, 3\): channels come first: permute\(0, 3, 1"),
        (np.zeros((4, 96, 96, 3), np.uint8), r"\(4, 96, 96, 3\): channels come first"),
        (torch.full((2, 3, 96, 96), 255.0), "images from 255 to 255: .* divide by 255"),
        (torch.linspace(-1, 1, 2 * 3 * 96 * 96).reshape(2, 3, 96, 96), "images from -1 to 1: "),
        (torch.full((2, 3, 96, 96), 1.6), "images from 1.6 to 1.6: "),
        (torch.zeros(2, 3, 96, 96).index_fill_(3, torch.tensor(5), torch.nan), "from nan to nan: "),
        (torch.full((2, 3, 96, 96), -torch.inf), "images from -inf to -inf: "),
        (torch.zeros(2, 3, 96, 96, dtype=torch.int64), "int64: pass uint8"),
    ],
)
def test_wrong_images_are_refused(images, message, outputs):
    encoder = sslbench.load_encoder(cell_of(outputs, "supervised").path)
    with pytest.raises(ValueError, match=message):
        encoder(images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_all_types_are_taken(dtype, outputs):
    encoder = sslbench.load_encoder(cell_of(outputs, "supervised").path)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = encoder(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, encoder(images.float()))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_are_taken(dtype, outputs):
    encoder = sslbench.load_encoder(cell_of(outputs, "supervised").path)
    images = np.random.default_rng(0).integers(0, 2, (2, 3, 96, 96)).astype(dtype)
    expected = encoder(torch.from_numpy(images.copy()))
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (encoder(images) == expected).all()
    reversed_channels = np.ascontiguousarray(images[:, ::-1])[:, ::-1]
    assert (encoder(reversed_channels) == expected).all()


def test_images_that_resizing_overshot_are_taken(outputs):
    encoder = sslbench.load_encoder(cell_of(outputs, "supervised").path)
    board = torch.arange(32)[:, None].add(torch.arange(32)).remainder(2).float()
    images = board.expand(2, 3, 32, 32).contiguous()
    images = nn.functional.interpolate(images, size=(96, 96), mode="bicubic")
    assert images.min() < -0.1
    assert encoder(images).isfinite().all()


def copy_cell(outputs, method, folder):
    return Path(shutil.copytree(cell_of(outputs, method).path, folder / "copied"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("results/weights", None),
        ("data/class_names", None),
        ("data/mean", None),
        ("data/std", "grey"),
        ("settings/model", None),
        ("settings/model/type", "Transformer"),
        ("settings/model/type", "Data"),
        ("settings/model/type", "Model"),
    ],
)
def test_records_of_another_version_are_refused(place, value, outputs, tmp_path):
    folder = copy_cell(outputs, "supervised", tmp_path)
    record = json.loads((folder / "record.json").read_text())
    *parents, last = place.split("/")
    part = record
    for name in parents:
        part = part[name]
    part[last] = value
    if value is None:
        del part[last]
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"{folder}/record.json: not as this version writes it"):
        sslbench.load_encoder(folder)


@pytest.mark.parametrize(
    "contents",
    [torch.zeros(3), [1, 2], {}, {"method": [1]}, {1: torch.zeros(3)}, {"stem.weight": 1}],
    ids=str,
)
def test_other_weights_are_refused(contents, outputs, tmp_path):
    folder = copy_cell(outputs, "supervised", tmp_path)
    weights = folder / load_record(folder).results["weights"]
    torch.save(contents, weights)
    with pytest.raises(ValueError, match=f"{weights}: not the weights of model="):
        sslbench.load_encoder(folder)
    weights.write_bytes(b"torn")
    with pytest.raises(ValueError, match=str(folder)):
        sslbench.load_encoder(folder)


def test_the_weights_of_another_model_are_refused(outputs, tmp_path):
    folder = copy_cell(outputs, "supervised", tmp_path)
    record = load_record(folder)
    settings = compose_settings(["model=resnet18"])
    record.settings["model"] = settings_to_dict(settings)["model"]
    record.save(folder)
    with pytest.raises(ValueError, match="not the weights of model=resnet18"):
        sslbench.load_encoder(folder)


@pytest.mark.parametrize("cell", ["", ".", "cells", Path("empty")])
def test_folders_that_are_no_cells_are_refused(cell, outputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"is no cell's folder.*there are 3, such as"):
        sslbench.load_encoder(cell, outputs=outputs)


def test_unknown_and_unfinished_cells_are_refused(outputs, tmp_path):
    with pytest.raises(ValueError, match=r"no cell nonsense.*there are 3, such as"):
        sslbench.load_encoder("nonsense", outputs=outputs)
    with pytest.raises(ValueError, match="there are none"):
        sslbench.load_encoder("nonsense", outputs=tmp_path)
    overrides = (*METHODS["supervised"], "optimizer.lr=1e30")
    assert train(tmp_path, *overrides).status == "failed"
    _, cell = tiny_cell(tmp_path, *overrides)
    with pytest.raises(ValueError, match=r"not finished \(failed\)"):
        sslbench.load_encoder(cell.path)
    (cell.path / "record.json").unlink()
    with pytest.raises(ValueError, match=r"not finished \(no record yet\)"):
        sslbench.load_encoder(cell.cell_id, outputs=tmp_path)


def test_the_package_is_light_until_the_encoder_is_asked_for():
    code = "import sslbench, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="nonsense"):
        sslbench.nonsense  # noqa: B018


def test_the_cards_snippet_runs(outputs, tmp_path, monkeypatch):
    text = (cell_of(outputs, "semi").path / "card.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(snippet, names)
    assert names["embeddings"].shape == (8, names["encoder"].embedding_dim)
