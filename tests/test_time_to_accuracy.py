"""What training takes: counted for a step, in each validation's point, in the report."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.cells import SMALL, compose, train
from helpers.synthetic import make_cell

from sslbench.build import build
from sslbench.cell.curves import CURVES, read_curves
from sslbench.engine.work import count_step
from sslbench.interfaces import Step
from sslbench.tables.assemble import build_report
from sslbench.tables.pictures.album import Album
from sslbench.tables.pictures.time_to_accuracy import draw_time_to_accuracy

BATCH, CHANNELS = 8, 8


def first_batch(training):
    return training.feed.assemble(training.feed.to_device(training.feed.draw(0)))


def convnet_flops(batch_size):
    """Of convolutions: forward, and backward by their weights and, but for the first, inputs."""
    of_layer, inputs = [], 3
    for side in (47, 23, 11, 5, 2):
        of_layer.append(2 * batch_size * side**2 * CHANNELS * inputs * 9)
        inputs = CHANNELS
    return 3 * sum(of_layer) - of_layer[0]


def test_a_step_is_counted_without_being_taken(outputs):
    training = build(compose("method=supervised", SMALL, f"outputs={outputs}"))
    before = {name: it.clone() for name, it in training.method.state_dict().items()}
    head = 3 * 2 * BATCH * (4 * CHANNELS) * 10
    assert count_step(training.method, first_batch(training)) == convnet_flops(BATCH) + head
    after = training.method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(weights.grad is None for weights in training.method.parameters())


def test_a_method_that_looks_at_values_is_counted_too(outputs):
    training = build(compose("method=barlow", SMALL, f"outputs={outputs}"))
    batch = first_batch(training)

    class Curious(type(training.method)):
        def forward(self, batch):
            loss, metrics = super().forward(batch)
            return Step(loss * (1 if loss.item() > 0 else 2), metrics)

    expected = count_step(training.method, batch)
    training.method.__class__ = Curious
    assert count_step(training.method, batch) == expected > 2 * convnet_flops(BATCH)


def test_validations_and_the_record_say_what_the_steps_took(outputs):
    cell = train(outputs, SMALL, "steps=6", "method.eval_every=0.4", "seed=41")  # 3 steps
    record, points = cell.folder.record(), read_curves(cell.folder.path / CURVES)
    validations = [point for point in points if point["split"] == "val"]
    assert [point["step"] for point in validations] == [3, 6]
    of_step = record.runtime["train_flops"] / 6
    assert [point["flops"] for point in validations] == [3 * of_step, 6 * of_step]
    first, last = (point["seconds"] for point in validations)
    assert 0 < first < last <= record.runtime["seconds"]["steps"] + 0.001


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on three seeds, two of which reach 70 %, and on a cell without costs."""
    folder = tmp_path_factory.mktemp("costs")
    for seed, accuracy in enumerate((0.6, 0.78, 0.8)):
        make_cell(folder, "resnet18", seed=seed, accuracy=accuracy, files=True)
    old = make_cell(folder, "convnet", files=True)
    curves = pd.read_json(old / CURVES, lines=True).drop(columns=["seconds", "flops"])
    curves.to_json(old / CURVES, orient="records", lines=True)
    return build_report(folder)


def test_the_table_tells_what_each_accuracy_took(report):
    (table,) = (table for table in report.tables if table.name.startswith("time-to-accuracy"))
    assert set(table.frame["model"]) == {"ResNet18"}
    lines = table.frame.set_index("val acc")
    *targets, best = lines.index
    assert targets == ["20", "30", "40", "50", "60", "70"]
    assert lines["reached"].tolist() == ["3/3"] * 4 + ["2/3", "2/3", "3/3"]
    values = table.values
    assert np.allclose(values["flops"], values["seconds"] * 1e10)  # as the cells were made
    of_target = values[~values["is_best"]]
    assert of_target["seconds"].is_monotonic_increasing
    assert np.isnan(of_target["seconds_low"].iloc[-1]), "one seed never came so far"
    assert best.startswith("best: 6")
    assert "[" in best


def test_the_picture_has_the_same_points(report):
    (group,) = report.groups
    (picture,) = draw_time_to_accuracy(Album(group, report.folder))
    drawn = pd.read_csv(picture.path.with_suffix(".csv"))
    assert set(drawn["model"]) == {"resnet18"}
    assert (drawn["n"] == 3).all()
    assert drawn["seconds"].is_monotonic_increasing


def test_a_line_is_of_one_ratio(tmp_path):
    for ratio, accuracy in (("1:1", 0.5), ("1:20", 0.8)):
        for seed in range(2):
            make_cell(tmp_path, "convnet", "semi", ratio, seed=seed, accuracy=accuracy, files=True)
    report = build_report(tmp_path)
    (picture,) = draw_time_to_accuracy(Album(*report.groups, tmp_path))
    drawn = pd.read_csv(picture.path.with_suffix(".csv"))
    assert (drawn["n"] == 2).all()
    assert drawn["accuracy"].max() > 70
