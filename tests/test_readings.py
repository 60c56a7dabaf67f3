"""Other readings of the paper: what their settings do, and the report's table of them."""

import pytest
import torch
from helpers.cells import SMALL, compose, train
from helpers.synthetic import make_cell
from torch.testing import assert_close

from sslbench.build import build
from sslbench.cell.curves import CURVES, read_curves
from sslbench.evaluate.cell import evaluate
from sslbench.evaluate.probe import fit_linear_probe
from sslbench.tables.compare import Predictions
from sslbench.tables.gather import gather
from sslbench.tables.groups import find_groups
from sslbench.tables.readings import reading_tables

SPLITS = ("train", "val")


def test_a_probe_may_be_fitted_on_random_views(outputs):
    words = ("method=barlow", SMALL, f"outputs={outputs}")
    plain = evaluate(build(compose(*words)), SPLITS)
    found = evaluate(build(compose(*words, "method.probe_view=view_b")), SPLITS)
    assert plain.keys() == set(SPLITS)
    assert found.keys() == {*SPLITS, "train_augmented"}
    seen = found["train_augmented"]
    assert_close(found["train"].embeddings, plain["train"].embeddings)
    assert not torch.allclose(seen.embeddings, plain["train"].embeddings)
    probe = fit_linear_probe(seen.embeddings, seen.labels, 1.0)
    assert_close(found["val"].logits, probe(found["val"].embeddings))
    assert seen.score.accuracy > found["train"].score.accuracy


def test_train_figures_are_of_the_probes_images(outputs):
    words = ("method=barlow", SMALL, "steps=2", "method.probe_view=view_a")
    results = train(outputs, *words).folder.record().results
    assert results["train"]["accuracy"] == results["train_augmented"]["accuracy"]
    assert results["train"]["accuracy"] != results["train_plain"]["accuracy"]


def test_train_figures_may_be_of_the_steps_before_the_best_validation(outputs):
    words = (SMALL, "steps=5", "method.eval_every=0.1", "log_every=1", "seed=5")
    cell = train(outputs, *words, "method.train_figures=best")
    results = cell.folder.record().results
    assert results["best_step"] < 5
    (point,) = (
        point
        for point in read_curves(cell.folder.path / CURVES)
        if (point["split"], point["step"]) == ("train", results["best_step"])
    )
    assert results["train"]["loss"] == pytest.approx(point["loss"])
    assert results["train"]["num_images"] == 8


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of a short and a long run, and of three readings in the short one."""
    folder, short = tmp_path_factory.mktemp("readings"), {"steps": 40}
    reading, both = short | {"optimizer.lr": 0.1}, {"method.batch_size": 7}
    for seed in range(3):
        make_cell(folder, "wrn45_2", accuracy=0.4 + seed / 100, changes=short, seed=seed)
        make_cell(folder, "wrn45_2", accuracy=0.5 + seed / 50, changes=reading, seed=seed)
    make_cell(folder, "wrn45_2", accuracy=0.9, changes={})
    make_cell(folder, "resnet18", accuracy=0.9, changes=reading)  # of none of ours
    make_cell(folder, "wrn45_2", accuracy=0.3, changes=reading | both)
    cells, problems = gather(folder)
    groups, misfits = find_groups(cells)
    found = reading_tables(groups, Predictions(problems))
    assert problems + misfits == []
    return {table.title: table for table in found}


def test_readings_stand_beside_ours_at_the_same_length(tables):
    ours = tables["Readings (digits, the built-in stand-in, steps=40)"].frame
    assert ours["reading"].tolist() == ["ours", "optimizer.lr=0.1"]
    assert ours["n"].tolist() == [3, 3]
    assert ours["val acc"].tolist()[0] == "41.12"  # of 107 images
    assert ours["train loss"].tolist() == ["1.18", "0.96 (-0.22 [-0.27, -0.17])"]


def test_what_changes_two_settings_stands_beside_what_changes_one(tables):
    (title,) = (title for title in tables if "optimizer.lr" in title)
    assert tables[title].frame["reading"].tolist() == ["ours", "method.batch_size=7"]
    assert len(tables) == 2
