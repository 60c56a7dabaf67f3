"""The command that fills all gaps: one line, of what was chosen, quoted for Hydra and a shell."""

import re
import shlex

import pytest
from helpers.synthetic import PLANNED, edit_record, make_cell
from hydra.core.override_parser.overrides_parser import OverridesParser

from sslbench import paper
from sslbench.cell.record import DONE, FAILED
from sslbench.tables.assemble import build_report
from sslbench.tables.quoting import setting

COMMAND = "python -m sslbench.train -m"


def command_of(outputs):
    return build_report(outputs).fill_command


def overrides_of(command):
    """The command's settings as Hydra reads them, after a shell."""
    words = shlex.split(command)[3:]
    return OverridesParser.create().parse_overrides([word for word in words if word != "-m"])


def words_of(command):
    """What it sets for all of its cells."""
    found = overrides_of(command)
    return {it.key_or_group: it.value() for it in found if not it.is_sweep_override()}


def grids_of(command):
    """What it sets for some of its cells, as lines that Hydra is to read."""
    grids = words_of(command)["hydra.sweeper.grids"].values()
    return [{f"{key}={value}" for key, value in axes.items()} for axes in grids]


TEXTS = ["a,b", "a=b", "#1", "it's", 'say "so"', "a b", "a  b", "é", "~", "(x)", "[x]", "{x}"]
TEXTS += ["a\\", 'a\\"', "1", "true", "null", "1e5", "a:b", "$HOME", "a`b`", "!x", "x.y/z-w@q", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_same_after_shell_and_hydra(text):
    (word,) = shlex.split(shlex.quote(setting("outputs", text)))
    (override,) = OverridesParser.create().parse_overrides([word])
    value = override.value()
    assert (str(value), override.is_sweep_override()) == (text, False)
    assert isinstance(value, str) or type(value).__name__ == "QuotedString"


def test_gaps_of_the_papers_grid_are_one_command(tmp_path):
    for seed in range(3):
        make_cell(tmp_path, "wrn45_2", data="stl10", seed=seed)
        make_cell(tmp_path, "resnet18", data="stl10", seed=seed)
    command = f"{COMMAND} experiment=paper seed=0,1,2 tracking=off outputs={tmp_path}"
    assert command_of(tmp_path) == command


def test_nothing_is_asked_for_that_nobody_chose(tmp_path):
    """Three seeds of what there is, and the holes of its grid."""
    make_cell(tmp_path, "convnet")
    words = f"model=convnet method=supervised data=digits seed=1,2 tracking=off outputs={tmp_path}"
    assert command_of(tmp_path) == f"{COMMAND} {words}"
    for choices in (("resnet18",), ("convnet", "semi", "1:5"), ("resnet18", "semi", "1:5")):
        make_cell(tmp_path, *choices)
    make_cell(tmp_path, "wrn37_2", "semi", "1:5")
    semi, supervised = grids_of(command_of(tmp_path))
    assert supervised == {"model=convnet,resnet18", "method=supervised"}
    assert semi == {"model=convnet,resnet18,wrn37_2", "method=semi", "ratio=1:5"}
    for seed in range(3):
        make_cell(tmp_path / "all", "convnet", seed=seed)
    assert command_of(tmp_path / "all") is None


def test_ratios_that_the_data_cannot_have_are_not_asked_for(tmp_path):
    sizes = {"num_labeled": 60, "num_unlabeled": 600}
    for model in ("convnet", "resnet18", "wrn45_2"):
        for ratio in ("1:1", "1:5", "1:20"):
            status = FAILED if ratio == "1:20" else DONE
            folder = make_cell(tmp_path, model, "semi", ratio, status=status)
            if status == DONE:
                edit_record(folder, "data/num_unlabeled", sizes["num_unlabeled"])
    command = command_of(tmp_path)
    assert "model=convnet,resnet18,wrn45_2 method=semi ratio=1:1,1:5 " in command
    assert "1:20" not in command


@pytest.mark.parametrize(
    ("choice", "changes", "expected"),
    [
        ({}, {"model.widths": [8, 16]}, {"data": "digits", "model.widths": [8, 16]}),
        ({"root": "/my data,#1"}, {}, {"data": "digits", "data.root": "/my data,#1"}),
        ({}, {"augmentation.view_b.blur.p": 0.9}, {"augmentation.view_b.blur.p": 0.9}),
        ({"data": "layout"}, {"data.fingerprint": "0123"}, {"data": "layout", "data.root": "data"}),
    ],
)
def test_commands_write_what_cells_changed(choice, changes, expected, tmp_path):
    outputs = tmp_path / "mine=1, it's"
    make_cell(outputs, "wrn45_2", "semi", "1:5", seed=3, status=FAILED, changes=changes, **choice)
    words = words_of(command_of(outputs))
    assert words.items() >= {"model": "wrn45_2", "outputs": str(outputs), **expected}.items()
    assert "data.fingerprint" not in words
    assert " seed=0,1,3 " in command_of(outputs)


def test_no_command_changes_settings_of_a_model_for_another(tmp_path):
    make_cell(tmp_path, "resnet18", "semi", changes={"model.stem": "cifar"})
    assert "model=resnet18 " in command_of(tmp_path)


def test_a_command_describes_the_weights_to_start_from(tmp_path):
    start = make_cell(tmp_path, "convnet", "barlow", "1:20", changes={"method.epochs": 9.0}).name
    make_cell(tmp_path, "convnet", "semi", "1:5", changes={"method.epochs": 9.0}, start=start)
    described = 'init.from="barlow ratio=1:20 method.epochs=9.0"'
    _, child = grids_of(command_of(tmp_path))
    assert child == {"method=semi", "ratio=1:5", described}


def test_what_the_start_has_of_its_own_is_not_set_twice(tmp_path):
    start = make_cell(tmp_path, "convnet", "barlow", changes={"method.epochs": 90.0}).name
    make_cell(tmp_path, "convnet", "semi", changes={"method.epochs": 9.0}, start=start)
    child, parent = grids_of(command_of(tmp_path))
    assert {"method=semi", 'init.from="barlow method.epochs=90.0"'} <= child
    assert parent == {"method=barlow", "method.epochs=90.0"}


@pytest.mark.parametrize(
    "start", ["barlow-convnet-1to20-stl10-s0-0123abcd", "/weights/a#.pt#90a1b2c3d4e5f607"]
)
def test_weights_without_a_name_are_not_asked_for(start, tmp_path):
    make_cell(tmp_path, "convnet", "semi", start=start)
    assert command_of(tmp_path) is None


def test_seeds_of_an_ablation_are_asked_for_too(tmp_path):
    for threshold in (0.0, 0.95):
        changes = {"method.threshold": threshold} if threshold else {}
        make_cell(tmp_path, "convnet", "semi", changes=changes)
    command = command_of(tmp_path)
    assert grids_of(command) == [set(), {"method.threshold=0.95"}]
    assert "seed=1,2 " in command
    make_cell(tmp_path, "convnet", "semi", changes={"method.threshold": 0.5})
    assert grids_of(command_of(tmp_path)) == [set(), {"method.threshold=0.5,0.95"}]


NO_SETTINGS = ["--config-dir", "hydra.sweep.dir", "hydra/launcher", "+a", "a\n", "a b", "~a"]


@pytest.mark.parametrize("key", NO_SETTINGS)
def test_commands_to_paste_set_settings_alone(key, tmp_path):
    edit_record(make_cell(tmp_path), "changes", {key: 41})
    assert not re.search(r"=41", command_of(tmp_path) or "")


def test_running_and_planned_cells(tmp_path):
    for seed, status in enumerate((FAILED, PLANNED)):
        make_cell(tmp_path, data="stl10", seed=seed, status=status)
    command = command_of(tmp_path)
    assert command.startswith(f"{COMMAND} experiment=paper seed=0,1,2")
    assert len(paper.ROWS) == 18
