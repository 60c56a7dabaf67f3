"""Weights that others wrote, fine-tuning, probes of any encoder, files for other programs."""

import copy
import json
import sys

import pytest
import torch
from helpers.cells import SMALL, compose, make_cell, train
from helpers.commands import share_digits
from helpers.folders import make_folders
from helpers.layouts import make_layout
from torch import nn
from torch.testing import assert_close

from sslbench import export
from sslbench.build import build_encoder
from sslbench.cell.checkpoint import load
from sslbench.cell.foreign_weights import fit_weights
from sslbench.config.parts import Sizes
from sslbench.engine.step import set_learning_rate
from sslbench.exit_codes import UsageError
from sslbench.export_formats import FORMATS
from sslbench.load import Encoder, load_encoder
from sslbench.methods.fine_tuning import layers_of
from sslbench.models.resnet import ResNet18
from sslbench.probe import main as probe_main
from sslbench.probe import probe

SIZES = Sizes(4, 4, 0, 0)
NAMES = ("", "module.", "backbone.", "encoder.", "module.encoder_q.")


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    share_digits(outputs)
    return train(outputs, "method=barlow", SMALL, "steps=1", "precision=fp32")


@pytest.fixture(scope="module")
def resnet():
    """A ResNet18 whose BatchNorm has seen images, as a cell's is loaded."""
    encoder = ResNet18().build()
    encoder(torch.randn(4, 3, 96, 96))
    data = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "side": 96, "class_names": ["a", "b"]}
    return Encoder(encoder, data, {"name": "mine"}).eval()


@pytest.fixture
def encoder():
    return build_encoder(compose(SMALL))


def others(weights, prefix):
    """Weights as another program names them, with a classifier on top, in a checkpoint of its."""
    named = {f"{prefix}{name}": value for name, value in weights.items()}
    return {"epoch": 3, "state_dict": named | {f"{prefix}fc.weight": torch.zeros(10, 4)}}


@pytest.mark.parametrize("prefix", NAMES)
def test_weights_are_found_under_whatever_prefix(prefix, encoder):
    model, theirs = compose(SMALL).model, build_encoder(compose(SMALL, "seed=1")).state_dict()
    found, left = fit_weights(others(theirs, prefix), encoder, model)
    encoder.load_state_dict(found)
    assert all(torch.equal(theirs[name], value) for name, value in encoder.state_dict().items())
    assert left == [f"state_dict.{prefix}fc.weight"]


def test_of_two_encoders_the_first_is_taken_and_the_other_named(encoder):
    weights = encoder.state_dict()
    both = {name: {"backbone": weights} for name in ("student", "teacher")}
    _, left = fit_weights(both, encoder, compose(SMALL).model)
    assert left == ["teacher.backbone.*"]


def test_keys_that_do_not_fit_are_named(encoder, cell, tmp_path):
    weights = encoder.state_dict()
    del weights["3.bias"]
    weights["0.weight"] = torch.zeros(8, 3, 5, 5)
    torch.save(weights, tmp_path / "weights.pt")
    words = (SMALL, f"init.from={tmp_path}/weights.pt")
    settings = make_cell(cell.settings.outputs, *words).settings
    message = r"another encoder than model=convnet \(no 3.bias; 0.weight is \(8, 3, 5, 5\) and not"
    with pytest.raises(ValueError, match=message):
        build_encoder(settings)
    torch.save(encoder, tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"whole.pt: .*save a model's state_dict\(\)"):
        load(tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="none of its weights"):
        fit_weights({"a": [1], 3: torch.zeros(2)}, encoder, settings.model)


def test_a_frozen_encoder_keeps_its_weights_and_statistics_while_its_head_learns():
    encoder = ResNet18().build()
    method = compose("method.freeze=true").method.build(encoder, SIZES).train()
    before = copy.deepcopy(method.state_dict())
    optimizer = torch.optim.SGD(method.param_groups(), lr=0.1)
    batch = {"view": torch.randn(4, 3, 96, 96), "labels": torch.arange(4)}
    method(batch).loss.backward()
    optimizer.step()
    changed = {
        name for name, value in method.state_dict().items() if not (value == before[name]).all()
    }
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("model", "num_layers"), [("convnet", 5), ("resnet18", 10), ("wrn45_2", 22)]
)
def test_layers_of_an_encoder_hold_each_of_its_weights_once_from_the_images_upwards(
    model, num_layers
):
    encoder = compose(f"model={model}").model.build()
    layers = layers_of(encoder)
    assert len(layers) == num_layers
    flat = [id(weights) for layer in layers for weights in layer]
    assert flat == [id(weights) for weights in encoder.parameters()]


def test_rates_fall_from_the_head_to_the_images():
    overrides = ("method.head_lr_scale=10", "method.layer_decay=0.5")
    method = compose(*overrides).method.build(nn_encoder(), SIZES)
    groups = [{"lr": 1.0, **group} for group in method.param_groups()]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    set_learning_rate(optimizer, 0.1)
    rates = {id(it): group["lr"] for group in optimizer.param_groups for it in group["params"]}
    first, last = method.encoder[0].weight, method.encoder[2].weight
    found = [rates[id(weights)] for weights in (method.head.weight, last, first)]
    assert found == pytest.approx([1.0, 0.05, 0.025])


def nn_encoder():
    encoder = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    encoder.embedding_dim = 4
    return encoder


def test_fine_tuning_is_a_cell_that_starts_from_another(cell):
    outputs = cell.settings.outputs
    words = (SMALL, f"init.from={cell.id}", "steps=1", "precision=fp32", "method.freeze=true")
    tuned = train(outputs, *words, "data.num_labeled=10")
    assert tuned.folder.state() == "done"
    before, after = (load_encoder(it.folder.path).state_dict() for it in (cell, tuned))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_probe_of_a_cell_on_its_own_data_is_that_of_its_record(cell, capsys):
    words = [cell.id, f"outputs={cell.settings.outputs}", "threads=1"]
    probe_main([*words, "--json"])
    found, results = json.loads(capsys.readouterr().out), cell.folder.record().results
    accuracies = {split: results[split]["accuracy"] for split in ("val", "test")}
    assert {split: found["probe"][split] for split in accuracies} == pytest.approx(accuracies)
    assert found["knn"] == pytest.approx(results["knn"])
    with pytest.raises(UsageError):
        probe_main([*words, "model=resnet18"])
    assert "model=resnet18: a cell has an encoder of its own" in capsys.readouterr().err


def test_a_probe_of_a_cell_takes_another_choice_of_its_images_or_others(cell, tmp_path):
    words = [f"outputs={cell.settings.outputs}", "threads=1"]
    fewer, _ = probe(cell.id, overrides=[*words, "data.num_labeled=20"])
    assert (fewer.data["name"], fewer.data["num_labeled"]) == ("digits", 20)
    make_layout(tmp_path / "ours")
    others = ["data=layout", f"data.root={tmp_path}/ours"]
    assert probe(cell.id, overrides=[*words, *others])[0].data["name"] == "ours"
    photos = ["data=folder", f"data.root={make_folders(tmp_path / 'photos', train=10)}"]
    assert probe(cell.id, overrides=[*words, *photos])[0].data["side"] == 96
    with pytest.raises(ValueError, match=r"data.side=32: barlow-.* takes images of 96 pixels"):
        probe(cell.id, overrides=[*words, *photos, "data.side=32"])


def test_a_probe_takes_parts_of_ones_own(cell, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [digits]\nsplit_seed: 3\n")
    outputs = f"outputs={cell.settings.outputs}"
    typed = [cell.id, "data=mine", outputs, "threads=1", "--config-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["probe", *typed])
    probe_main()


def test_weights_of_a_cell_below_another_folder_of_outputs_are_a_start(cell, tmp_path):
    folder = cell.folder.path
    share_digits(tmp_path)
    start = make_cell(tmp_path, SMALL, f"init.from={folder}").settings
    weights = folder / cell.folder.record().results["weights"]
    assert start == make_cell(tmp_path, SMALL, f"init.from={weights}").settings
    with pytest.raises(ValueError, match="no cell's folder"):
        make_cell(tmp_path, SMALL, f"init.from={tmp_path}")


def test_a_probe_takes_an_encoder_that_settings_name(cell):
    weights = f"{cell.folder.path}/last.pt"
    words = [f"outputs={cell.settings.outputs}", "data=digits", "threads=1", SMALL]
    result, _ = probe(overrides=[*words, f"init.from={weights}"])
    expected = cell.folder.record().results["test"]["accuracy"]
    assert result.probe["test"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "kind", ["safetensors", "timm", "torch", pytest.param("onnx", marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_exported_gives_the_same_embeddings_in_its_own_library(kind, resnet, tmp_path):
    for package in FORMATS[kind].packages:
        pytest.importorskip(package, reason="the extra export is not installed")
    path = tmp_path / f"it{FORMATS[kind].suffix}"
    read_back = FORMATS[kind].write(resnet, ResNet18(), path)
    assert path.exists()
    assert export.compare(resnet, read_back, kind) < 1e-5


def test_a_file_that_gives_other_embeddings_is_refused(resnet):
    with pytest.raises(ValueError, match=r"--to onnx: the file gives other embeddings, by 5.0e-02"):
        export.compare(resnet, lambda images: 1.05 * resnet(images), "--to onnx")


def test_an_export_says_what_its_user_must_know(cell, tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="the extra export is not installed")
    path = tmp_path / "it.safetensors"
    export.export(cell.id, "safetensors", path, cell.settings.outputs)
    record = cell.folder.record()
    with safetensors.safe_open(path, "pt") as file:
        about = file.metadata()
    assert json.loads(about["class_names"]) == record.data["class_names"]
    assert json.loads(about["mean"]) == pytest.approx(record.data["mean"])
    assert json.loads(about["accuracy"])["test"] == record.results["test"]["accuracy"]
    again = make_cell(cell.settings.outputs, SMALL, f"init.from={path}").settings
    expected = load_encoder(cell.folder.path).encoder.state_dict()
    assert_close(build_encoder(again).state_dict(), expected, rtol=0, atol=0)


def test_what_a_format_cannot_hold_is_refused(cell, capsys):
    with pytest.raises(UsageError):
        export.main([cell.id, "--to", "timm", "--outputs", cell.settings.outputs])
    assert "model=convnet: timm has no such encoder" in capsys.readouterr().err
