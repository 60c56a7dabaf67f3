"""A finished cell's card."""

import pytest
from huggingface_hub import ModelCard

from sslbench.cell.card import card, save_card
from sslbench.cell.record import Record
from sslbench.tables.statistics import wilson_interval

NAMES = ["<b>*x*</b>", "a|b: 'c'", "日本", "$x_1$"]


@pytest.fixture
def record():
    """Make up a cell of a method from outside the package."""
    made = Record("mine-convnet-s0-12", "done", {}, streams=["labeled", "unlabeled"])
    made.settings = {
        "model": {"name": "convnet"},
        "method": {"name": "mine", "batch_size": 25, "description": "By wishing: it helps."},
        "optimizer": {"name": "sgd", "lr": 0.1, "schedule": "cosine"},
        **{"ratio": {"name": "1:20"}, "init": {"from": None}, "seed": 0, "outputs": "outputs"},
    }
    scored = {
        "accuracy": 0.25,
        "loss": 1.5,
        "confusion": [[1, 1, 0, 0], [0] * 4, [1, 2, 1, 0], [1, 0, 0, 0]],
    }
    made.results = dict.fromkeys(("train_plain", "val", "test"), scored)
    made.results |= {"train": {"accuracy": 0.75}, "knn": {"test": 0.3125}, "weights": "best.pt"}
    made.results |= {"weights_sha256": "ab" * 32, "steps": 80, "best_step": 40}
    numbers = {f"num_{kind}": 40 for kind in ("labeled", "unlabeled", "val", "test")}
    made.data = {"name": "stl10", "fingerprint": "0f", "class_names": NAMES, **numbers}
    made.data |= {"side": 96, "mean": [0.5] * 3, "std": [0.25] * 3}
    made.runtime = {"train_seconds": 9.6, "processor": "made up", "precision": "fp32"}
    made.runtime["versions"] = {"torch": "2.14", "commit": "abc"}
    made.runtime["images_per_step"] = {"labeled": 25, "unlabeled": 50}
    return made


def test_the_head_is_read_by_hugging_face(record, tmp_path):
    record.data["name"] = "my: 'set' #1"
    save_card(tmp_path / "card.md", record)
    head = ModelCard.load(tmp_path / "card.md").data
    assert head.model_name == record.cell
    found = [(one.dataset_name, one.dataset_split, one.metric_value) for one in head.eval_results]
    assert found == [("my: 'set' #1", "val", 0.25), ("my: 'set' #1", "test", 0.25)]


def test_the_body_says_what_the_cell_is_and_how_good(record):
    text = card(record)
    for words in (
        "trained by `mine` on labelled and unlabelled images. By wishing: it helps.",
        "load_encoder('mine-convnet-s0-12', outputs='outputs')",
        "| test | 25.00% | 1.5000 |",
        "| test, k-NN | 31.25% |",
        "80 steps of 25 labelled and 50 unlabelled images by `sgd`, learning rate 0.1 (cosine)",
        "Labelled to unlabelled 1:20.",
        "best on the validation images, of step 40 (`best.pt`",
        r"\<b\>\*x\*\</b\> 50.0%, a\|b: 'c' no images, 日本 25.0%, \$x\_1\$ 0.0%",
        "torch.zeros(8, 3, 96, 96",
    ):
        assert words in text
    low, high = wilson_interval(0.25, 40)
    assert f"25.0% has the 95 % interval {low:.1%} to {high:.1%}" in text
    assert "stand-in" not in text
    assert "collapsed" not in text
    assert "The paper reports" not in text
    record.data["name"] = "digits"
    assert "stand-in" in card(record)


def test_the_body_says_what_collapsed_and_no_ratio_that_is_not_used(record):
    record.results["collapse"] = "all 40 images are taken for bird"
    record.streams = ["labeled"]
    text = card(record)
    assert "It collapsed: all 40 images are taken for bird." in text
    assert "1:20" not in text


@pytest.mark.parametrize(
    ("choices", "change", "expected"),
    [
        (("supervised", "convnet", ["labeled"]), {}, "table 1: train acc 48.80%, val acc 59.36%"),
        (("semi", "wrn45_2", ["labeled", "unlabeled"]), {}, "table 3: train acc 87.75%"),
        (("supervised", "convnet", ["labeled"]), {"steps": 9}, None),
        (("mine", "convnet", ["labeled"]), {}, None),
    ],
)
def test_the_papers_figures_stand_beside_what_they_are_of(record, choices, change, expected):
    record.settings["method"]["name"], record.settings["model"]["name"], record.streams = choices
    record.changes = change
    text = card(record)
    assert ("The paper reports" in text) == (expected is not None)
    assert expected is None or f"The paper reports for it, in {expected}" in text


def test_whatever_a_data_set_is_called_stays_a_name(record, tmp_path):
    evil = "x`\n---\nlicense: <b>"
    record.data |= {"name": evil, "fingerprint": evil, "class_names": [evil, "=", "\u202e", "|"]}
    record.settings["init"]["from"] = evil
    record.settings["outputs"] = 'out"\n```\n'
    save_card(tmp_path / "card.md", record)
    found = ModelCard.load(tmp_path / "card.md")
    assert found.data.license is None
    assert {one.dataset_name for one in found.data.eval_results} == {evil}
    assert found.text.count("\n```") == 2
    assert "\u202e" not in found.text
    assert "<b>" not in found.text.replace(r"\<b\>", "").replace("`` x` --- license: <b> ``", "")
