"""What Singh, Garg and Mishra report, as data. Accuracies are fractions."""

import csv
from pathlib import Path
from typing import NamedTuple

NUM_IMAGES = {"train": 5000, "val": 1600, "test": 6400}
"""Images that an accuracy of each split is a share of."""

MODELS = ("convnet", "resnet18", "wrn45_2")
SUPERVISED, BARLOW, SEMI = "supervised", "barlow", "semi"
METHODS = (SUPERVISED, BARLOW, SEMI)
FULL_RATIO = "1:20"
"""All of STL-10's unlabelled images."""
DATA = "stl10"

TITLES = {"convnet": "ConvNet", "resnet18": "ResNet18", "wrn45_2": "WRN-45-2"}
TITLES |= {SUPERVISED: "supervised", BARLOW: "self-supervised", SEMI: "semi-supervised"}


def title(name: str) -> str:
    """Return a model's or method's name as the paper writes it, or else its own."""
    return TITLES.get(name, name)


class Row(NamedTuple):
    """What stands in one place of the tables: all but the seed. `ratio` is none for supervised."""

    method: str
    model: str
    ratio: str | None = None
    init: str | None = None
    """Whose encoder training starts from, such as `barlow`."""


class Metric(NamedTuple):
    """A number of a cell: `results[split][name]` of its record."""

    title: str
    split: str
    name: str = "accuracy"


TRAIN, TRAIN_LOSS = Metric("train acc", "train"), Metric("train loss", "train", "loss")
VAL, TEST = Metric("val acc", "val"), Metric("test acc", "test")
KNN = Metric("k-NN test acc", "knn", "test")

Reported = dict[Row, dict[Metric, float]]


def _read_table(number: str) -> Reported:
    """Read a table from `paper.csv`, where accuracies are in percent."""
    with Path(__file__).with_suffix(".csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["table"] == number]
    return {
        Row(line["method"], line["model"], line["ratio"] or None): {
            metric: float(line[metric.title]) / (1 if metric == TRAIN_LOSS else 100)
            for metric in (TRAIN, VAL, TRAIN_LOSS, TEST)
            if line[metric.title]
        }
        for line in lines
    }


TABLE_1, TABLE_2, TABLE_3, TABLE_4 = map(_read_table, "1234")
ROWS = tuple(
    dict.fromkeys(
        [*TABLE_1, *TABLE_2, *TABLE_3, *TABLE_4, *(row._replace(init=BARLOW) for row in TABLE_3)]
    )
)
"""All that the paper trains, and its semi-supervised models from self-supervised weights."""
