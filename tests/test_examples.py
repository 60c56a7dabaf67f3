"""Parts from outside the package, as a user has them: run, stopped, swept, loaded, installed."""

import importlib
import shutil
import signal
import sys

import pytest
import torch
from faults.command import run_command
from helpers.commands import ROOT, records, train_here
from helpers.crash import signalled

from sslbench import load_encoder
from sslbench.report import main as report

EXAMPLES = ROOT / "examples"
MINE = ("--config-dir", "conf", "method=simsiam", "model=mobilenet", "optimizer=lion")
SMALL = ("data=digits", "tracking=off", "threads=1", "precision=fp32", "model.width=0.25")
CELL = (*MINE, "augmentation=vignette", *SMALL)
CELL += ("method.batch_size=8", "method.eval_every=0.02", "steps=12")


def here(folder, *arguments):
    """Run a command from the examples' folder, in this process."""
    return train_here(folder, *arguments, f"outputs={folder}/outputs", cwd=EXAMPLES)


@pytest.fixture(scope="module", autouse=True)
def examples_are_importable():
    """As they are for a command that is started from their folder."""
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


def make_unimportable(monkeypatch, *installed):
    """Let this process be as one that was started elsewhere; what is installed is there."""
    paths = [path for path in sys.path if path != str(EXAMPLES)]
    monkeypatch.setattr(sys, "path", [*installed, *paths])
    for module in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        monkeypatch.delitem(sys.modules, module)
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    result = here(folder, *CELL)
    assert result.returncode == 0, result
    return folder


def test_a_cell_of_outside_parts_says_so_in_its_record(trained):
    [(cell, record)] = records(trained).items()
    assert cell.startswith("simsiam-mobilenet-1to20-digits-s0-")
    assert record.streams == ["unlabeled"]
    types = [record.settings[group]["type"] for group in ("model", "method", "optimizer")]
    assert types == ["mylab.mobilenet.MobileNet", "mylab.simsiam.SimSiam", "mylab.lion.Lion"]
    view = record.settings["augmentation"]["view_a"]
    assert list(view) == ["crop", "flip", "jitter", "grayscale", "blur", "vignette"]
    assert view["vignette"] == {"type": "mylab.vignette.Vignette", "p": 0.5, "strength": 0.5}
    # Where the hardware has no bf16, fp32 is no change.
    assert record.changes.keys() - {"precision"} == {
        *("augmentation", "optimizer", "steps", "model.width"),
        *("method.batch_size", "method.eval_every"),
    }


def test_stopped_and_gone_on_with_it_gives_the_same_results(trained, tmp_path):
    with signalled(7, signal.SIGTERM):
        assert here(tmp_path, *CELL).returncode == 128 + signal.SIGTERM
    resumed = here(tmp_path, *CELL)
    assert resumed.returncode == 0, resumed
    assert "resumed after step" in resumed.stdout
    [(_, mine)], [(_, other)] = records(tmp_path).items(), records(trained).items()
    assert mine.results == other.results


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.predictr_dim=1", "method.predictr_dim; did you mean method.predictor_dim?"),
        ("optimizer.beta1=1", "optimizer.beta1=1.0: must lie in [0, 1)"),
        ("augmentation.view_b.vignette.strength=2", "strength=2.0: must lie between 0 and 1"),
        ("method=supervised method.predictor_dim=1", "predictor_dim; it belongs to method=simsiam"),
    ],
)
def test_mistakes_are_refused_as_those_of_the_packages_own_parts(override, message, tmp_path):
    refused = here(tmp_path, *CELL, *override.split())
    assert refused.returncode == 2, refused
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "outputs" / "cells").exists()


def test_a_trained_encoder_is_loaded_where_its_part_can_be_imported(trained, monkeypatch):
    [cell] = records(trained)
    encoder = load_encoder(cell, outputs=trained / "outputs")
    images = torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    assert encoder(images).shape == (2, encoder.embedding_dim)
    assert type(encoder.encoder).__module__ == "torchvision.models.mobilenetv3"
    make_unimportable(monkeypatch)
    with pytest.raises(ValueError, match=r"mylab\.mobilenet\.MobileNet.* PYTHONPATH"):
        load_encoder(cell, outputs=trained / "outputs")


def test_code_of_an_outside_part_that_has_changed_is_other_code(trained, tmp_path, monkeypatch):
    before = here(trained, *CELL)
    copied = shutil.copytree(EXAMPLES, tmp_path / "examples")
    with (copied / "mylab" / "simsiam.py").open("a") as file:
        file.write("# changed\n")
    make_unimportable(monkeypatch, str(copied))
    after = run_command(copied, (*CELL, f"outputs={trained}/outputs"))  # in a fresh process
    assert (before.returncode, after.exit_code) == (0, 0), after
    assert before.stdout.startswith("done before")
    assert after.said.startswith("done before")
    assert "other code" not in before.stdout
    assert "it was trained by other code than this" in after.said


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep by an installed plugin, found by its entry point."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(EXAMPLES / "mylab", folder / "site" / "mylab")
    shutil.copytree(EXAMPLES / "conf", folder / "site" / "mylab" / "conf")
    about = folder / "site" / "mylab-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[sslbench.plugins]\nmylab = mylab\n")
    arguments = [*SMALL, "model=mobilenet", "optimizer=lion", "steps=2", "method=semi"]
    arguments += ["method.batch_size=8", "method.unlabeled_batch_size=8"]
    arguments += ["init.from='simsiam method.batch_size=8'"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_unimportable(monkeypatch, str(folder / "site"))
        result = train_here(folder, "-m", *arguments)
    assert result.returncode == 0, result
    return folder


def test_an_installed_plugin_is_found_and_its_method_is_a_start_in_a_sweep(swept):
    found = records(swept)
    assert [record.status for record in found.values()] == ["done", "done"]
    semi, simsiam = found
    assert (semi.partition("-")[0], simsiam.partition("-")[0]) == ("semi", "simsiam")
    assert found[semi].settings["init"] == {"from": simsiam}
    assert found[semi].settings["model"]["type"] == "mylab.mobilenet.MobileNet"


def test_the_report_compares_an_outside_method_that_it_need_not_import(swept, monkeypatch):
    make_unimportable(monkeypatch)
    with pytest.raises(SystemExit, match="0"):
        report(["--no-figures", "--outputs", str(swept / "outputs")])
    page = (swept / "outputs" / "report" / "report.html").read_text()
    assert "compare on" in page
    assert "<td>simsiam</td>" in page
