"""What Singh, Garg and Mishra report, as data. Accuracies are fractions."""

from typing import NamedTuple

NUM_IMAGES = {"train": 5000, "val": 1600, "test": 6400}
"""Images that an accuracy of each split is a share of."""

MODELS = ("convnet", "resnet18", "wrn45_2")
RATIOS = ("1:1", "1:5", "1:20")
SUPERVISED, BARLOW, SEMI = "supervised", "barlow", "semi"
METHODS = (SUPERVISED, BARLOW, SEMI)
FULL_RATIO = "1:20"
"""All of STL-10's unlabelled images."""
DATA = "stl10"

MODEL_TITLES = {"convnet": "ConvNet", "resnet18": "ResNet18", "wrn45_2": "WRN-45-2"}
METHOD_TITLES = {SUPERVISED: "supervised", BARLOW: "self-supervised", SEMI: "semi-supervised"}


def model_title(model: str) -> str:
    """Return a model's name as the paper writes it; its own if the paper does not have it."""
    return MODEL_TITLES.get(model, model)


def method_title(method: str) -> str:
    """Return a method's name as the paper writes it; its own if the paper does not have it."""
    return METHOD_TITLES.get(method, method)


class Row(NamedTuple):
    """What stands in one place of the tables: all but the seed. `ratio` is none for supervised."""

    method: str
    model: str
    ratio: str | None = None
    init: str | None = None
    """Whose encoder training starts from, such as `barlow`."""


def row_title(row: Row) -> str:
    """Name a row in words, such as `semi-supervised ResNet18 1:20`."""
    words = [method_title(row.method), model_title(row.model)]
    if row.method == SEMI:
        words.append(str(row.ratio))
    if row.init:
        words.append(f"from {method_title(row.init)} weights")
    return " ".join(words)


class Metric(NamedTuple):
    """A number of a cell: `results[split][name]` of its record."""

    title: str
    split: str
    name: str = "accuracy"


TRAIN, TRAIN_LOSS = Metric("train acc", "train"), Metric("train loss", "train", "loss")
VAL, TEST = Metric("val acc", "val"), Metric("test acc", "test")
KNN = Metric("k-NN test acc", "knn", "test")

Reported = dict[Row, dict[Metric, float]]


def _percent(columns: tuple[Metric, ...], values: tuple[float, ...]) -> dict[Metric, float]:
    return {
        metric: value if metric == TRAIN_LOSS else value / 100
        for metric, value in zip(columns, values, strict=True)
    }


_WITH_TEST = (TRAIN, VAL, TRAIN_LOSS, TEST)
_WITHOUT_TEST = (TRAIN, VAL, TRAIN_LOSS)

TABLE_1: Reported = {
    Row(SUPERVISED, "convnet"): _percent(_WITH_TEST, (48.8, 59.36, 1.41, 59.58)),
    Row(SUPERVISED, "resnet18"): _percent(_WITH_TEST, (68, 71.4, 0.86, 71.68)),
    Row(SUPERVISED, "wrn45_2"): _percent(_WITH_TEST, (74.1, 76.1, 0.73, 73.18)),
}
TABLE_2: Reported = {
    Row(BARLOW, "convnet", FULL_RATIO): _percent(_WITHOUT_TEST, (40.11, 42.98, 23.7)),
    Row(BARLOW, "resnet18", FULL_RATIO): _percent(_WITHOUT_TEST, (38.27, 39.45, 28.88)),
    Row(BARLOW, "wrn45_2", FULL_RATIO): _percent(_WITHOUT_TEST, (42.94, 44.95, 16.05)),
}
TABLE_3: Reported = {
    Row(SEMI, "convnet", FULL_RATIO): _percent(_WITH_TEST, (50, 56.65, 1.96, 55.63)),
    Row(SEMI, "resnet18", FULL_RATIO): _percent(_WITH_TEST, (79.32, 73.77, 0.61, 72.45)),
    Row(SEMI, "wrn45_2", FULL_RATIO): _percent(_WITH_TEST, (87.75, 75.2, 0.25, 75.17)),
}
TABLE_4: Reported = {
    Row(SEMI, "convnet", "1:1"): _percent((TRAIN, VAL), (49.68, 55.61)),
    Row(SEMI, "convnet", "1:5"): _percent((TRAIN, VAL), (54.78, 58.06)),
    Row(SEMI, "convnet", "1:20"): _percent((TRAIN, VAL), (54.86, 58.72)),
    Row(SEMI, "resnet18", "1:1"): _percent((TRAIN, VAL), (73.71, 72.1)),
    Row(SEMI, "resnet18", "1:5"): _percent((TRAIN, VAL), (76.43, 73.2)),
    Row(SEMI, "resnet18", "1:20"): _percent((TRAIN, VAL), (81.2, 75.55)),
    Row(SEMI, "wrn45_2", "1:1"): _percent((TRAIN, VAL), (74.18, 74.05)),
    Row(SEMI, "wrn45_2", "1:5"): _percent((TRAIN, VAL), (75.04, 74.71)),
    Row(SEMI, "wrn45_2", "1:20"): _percent((TRAIN, VAL), (82.18, 76.08)),
}
