"""Encoders that timm and torchvision build by name, and those of a YAML file on top of them."""

import sys

import pytest
import torch
from helpers.cells import compose, make_cell, train
from torchvision import models

from sslbench.cell.changes import find_changes
from sslbench.config.as_json import settings_from_json, settings_to_json
from sslbench.config.read import read_settings
from sslbench.models.torchvision import Torchvision
from sslbench.sweep.preflight import Preflight

timm = pytest.importorskip("timm", reason="the extra timm is not installed")

VIT = ("model=timm", "model.name=test_vit")
MINE = """
defaults: [timm, _self_]
name: mine
architecture: test_vit
drop_path: 0.5
arguments: {depth: 2}
"""


@pytest.mark.parametrize(
    ("model", "width"),
    [
        (("timm", "test_vit"), 64),
        (("timm", "test_resnet"), 96),
        (("torchvision", "squeezenet1_1"), 512),
        (("torchvision", "shufflenet_v2_x0_5"), 1024),
    ],
    ids=str,
)
def test_an_encoder_is_one_vector_an_image_and_all_of_it_learns(model, width):
    library, name = model
    encoder = compose(f"model={library}", f"model.name={name}").model.build()
    embeddings = encoder(torch.randn(2, 3, 96, 96))
    assert embeddings.shape == (2, encoder.embedding_dim) == (2, width)
    embeddings.square().sum().backward()
    assert all(weights.grad is not None for weights in encoder.parameters())


@pytest.mark.slow
def test_all_of_torchvisions_are_built_or_say_why_not():
    refused = []
    for name in models.list_models(module=models):
        if "_h_" not in name and not name.startswith(("regnet_y_128", "vit_l", "convnext_l")):
            try:
                Torchvision(name=name).build()
            except ValueError as error:
                refused.append(str(error).partition(":")[0])
    assert refused == ["model.name=maxvit_t"]


def test_transformers_take_images_of_any_side_that_their_patches_divide():
    settings = compose(*VIT)
    assert settings.model.build(32)(torch.zeros(2, 3, 32, 32)).shape == (2, 64)
    with pytest.raises(ValueError, match=r"model.name=test_vit: .* 8x8 images"):
        settings.model.require_buildable(8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("model=timm", "model.name=timm: timm has no such architecture"),
        ("model=timm model.name=resnt18", "resnt18: timm has no .*did you mean resnet18"),
        ("model=torchvision model.name=maxvit_t", "maxvit_t: torchvision does not build it for 96"),
        ("model=timm model.name=test_vit model.arguments.embed=1", "embed.*set model.arguments"),
        ("model=timm model.name=hf-hub:a/b", "model.name=hf-hub:a/b: must be letters"),
        ("model=timm model.drop_path=1", "model.drop_path=1.0: must lie in"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_trains(overrides, message, outputs):
    def ask():
        settings = read_settings(["data=digits", f"outputs={outputs}", *overrides.split()])
        Preflight().check(Preflight().make_concrete(settings))

    with pytest.raises(ValueError, match=message):
        ask()


def test_without_timm_it_says_what_to_install(outputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"model=timm: needs timm.*pip install 'sslbench\[timm\]'"):
        compose(*VIT, f"outputs={outputs}").model.build()


def test_its_name_is_what_the_cell_is_and_no_change(outputs):
    vit, resnet = (
        make_cell(outputs, "model=timm", f"model.name=test_{it}") for it in ("vit", "resnet")
    )
    assert vit.id.startswith("supervised-test_vit-digits-s0-")
    assert resnet.id.rpartition("-")[2] != vit.id.rpartition("-")[2]
    changes = find_changes(vit.settings, {"model": "timm"})
    assert not [key for key in changes if key.startswith("model")]
    contents = settings_to_json(vit.settings)
    assert contents["model"]["choice"] == "timm"
    assert settings_from_json(contents) == vit.settings


def test_a_yaml_on_top_of_timm_learns_by_all_three_methods_the_same_each_time(
    outputs, tmp_path, monkeypatch
):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(MINE)
    monkeypatch.setattr(sys, "argv", ["", "--config-dir", str(tmp_path / "conf")])
    mine = ("model=mine", "precision=fp32", "steps=2")
    found = [train(outputs, *mine, f"method={it}") for it in ("supervised", "barlow")]
    found.append(train(outputs, *mine, "method=semi", "method.unlabeled_batch_size=8"))
    assert [cell.folder.state() for cell in found] == ["done"] * 3
    assert found[0].id.startswith("supervised-mine-")
    again = train(tmp_path / "again", *mine, "method=supervised")  # with drop path, which draws
    weights = [cell.folder.record().results["weights_sha256"] for cell in (found[0], again)]
    assert weights[0] == weights[1]
