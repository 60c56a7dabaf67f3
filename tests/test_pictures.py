"""Pictures and the page, over made-up cells."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import CLASSES, edit_record, make_cell
from matplotlib.figure import Figure
from PIL import Image

from sslbench.cell.record import FAILED
from sslbench.report import build_report
from sslbench.tables.page import write_page
from sslbench.tables.pictures import draw_pictures
from sslbench.tables.pictures.album import STYLE, rendered
from sslbench.tables.pictures.embeddings import name_classes

FEW = {"num_images": (60, 80), "files": True, "changes": {"steps": 40}}
EVIL = "<script>alert(1)</script>"
UNKIND = [EVIL, "$\\frac$", "$x", "_background_", "a" * 300, "\u200b", "שלום", "😀" * 40, "\ud800"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A report over a small sweep with pictures, one failed cell and hostile names."""
    outputs = tmp_path_factory.mktemp("sweep")
    names = [*CLASSES["digits"][: -len(UNKIND)], *UNKIND]
    for model, accuracy in (("convnet", 0.6), ("resnet18", 0.7)):
        for method in ("supervised", "barlow"):
            make_cell(outputs, model, method, accuracy=accuracy, **FEW)
        for seed in range(2):
            for ratio in ("1:1", "1:20"):
                more = {"seed": seed, "accuracy": accuracy + 0.01 * seed}
                make_cell(outputs, model, "semi", ratio, **more, **FEW)
    for folder in (outputs / "cells").iterdir():
        edit_record(folder, "data/class_names", names)
    failed = make_cell(outputs, EVIL, "mine", status=FAILED, cell_id="failed", **FEW)
    edit_record(failed, "error/message", EVIL)
    report = build_report(outputs)
    report.pictures = draw_pictures(report)
    return report


def names(pictures):
    return [re.sub("-digits-.*", "", picture.name) for picture in pictures]


def data_of(picture):
    return pd.read_csv(picture.path.with_suffix(".csv"))


def test_every_picture_is_drawn_with_its_data(sweep):
    drawn = names(sweep.pictures)
    expected = ["curves", "pseudo-labels", "time-to-accuracy", "ratios", "confusion", "tsne"]
    assert drawn == [*expected, "snapshots"]
    assert sweep.problems == []
    for picture in sweep.pictures:
        pixels = np.asarray(Image.open(picture.path).convert("L"))
        assert min(pixels.shape) > 300
        assert 0.01 < (pixels < 200).mean() < 0.6
        assert len(data_of(picture)) > 1


def test_a_legend_names_all_within_its_picture():
    with matplotlib.rc_context(fname=STYLE):
        canvas = Figure((6.4, 4.8))
        name_classes(canvas, UNKIND)
        rendered(canvas)
    (legend,) = canvas.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[1:4] == ["$\\frac$", "$x", "_background_"]
    assert shown[5] == r"\u200b"
    assert len(shown) == len(UNKIND)
    assert max(map(len, shown)) <= 22
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= canvas.bbox.x1


def test_data_are_means_over_seeds_in_percent(sweep):
    curves, _, _, _, confusion, *_ = map(data_of, sweep.pictures)
    of_row = "method == 'semi-supervised' and model == 'resnet18'"
    val = curves.query(f"{of_row} and split == 'val'")
    assert set(val["n"]) == {2}
    assert 60 < val["mean"].iloc[-1] < 80
    shares = confusion.query(of_row).drop(columns=["method", "from", "model", "class"])
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    np.testing.assert_allclose(np.diag(shares), 70, atol=8)


@pytest.mark.parametrize(
    ("picture", "damage"),
    [
        ("curves", b"\xff"),
        ("curves", b'{"step": "1", "epoch": 1, "split": "train"}'),
        ("curves", b'{"step": 1, "epoch": 1, "split": "train", "accuracy": {"val": 0.5}}'),
        ("curves", b'{"step": 1, "epoch": 1, "split": "train", "loss": 1' + b"0" * 400 + b"}"),
        ("tsne", b"PK torn"),
        ("confusion", ("results/test/confusion", ...)),
        ("confusion", ("results/test/confusion", [[1] * 10] * 9 + [[1]])),
        ("confusion", ("results/test/confusion", [[-1] * 10] * 10)),
        ("confusion", ("data/class_names", ["zero", "one"])),
        ("confusion", ("data/class_names", list("abcdefghij"))),
    ],
)
def test_what_is_damaged_is_named_and_left_out(picture, damage, tmp_path):
    few = FEW | {"files": picture != "confusion"}
    make_cell(tmp_path, "convnet", **few)
    wrong = make_cell(tmp_path, "resnet18", **few)
    if picture == "confusion":
        edit_record(wrong, *damage)
    elif picture == "tsne":
        (wrong / "embeddings-test.npz").write_bytes(damage)
    else:
        curves = wrong / "metrics.jsonl"
        curves.write_bytes(damage + b"\n" + curves.read_bytes())
    report = build_report(tmp_path)
    pictures = draw_pictures(report)
    drawn = data_of(pictures[names(pictures).index(picture)])
    assert set(drawn["model"]) == {"convnet"}
    assert wrong.name in report.problems[-1]


class Page(HTMLParser):
    """Collects a page's elements with their attributes, and what is read."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.handle_data = self.texts.append
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def values(self, *names):
        return [value or "" for name, value in self.attributes if name in names]


@pytest.fixture
def written(sweep, tmp_path):
    write_page(tmp_path / "report.html", sweep)
    return (tmp_path / "report.html").read_text()


def test_page_holds_every_table_picture_and_claim(sweep, written):
    found = Page(written)
    for each in (*sweep.tables, *sweep.pictures):
        assert each.title in found.texts
    commands = {command for table in sweep.tables for command in table.commands}
    assert commands
    assert commands | {claim.sentence for claim in sweep.claims} <= set(found.texts)
    assert found.tags.count("img") == len(sweep.pictures)
    assert all(found.values("alt"))
    assert len(re.findall(r'class="badge \w+">', written)) == 2 * len(sweep.claims)


def test_page_needs_nothing_else(written):
    sources = Page(written).values("src", "href")
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert not re.search(r"https?://|@import|url\(", re.sub(r"base64,[^\"]+", "", written))
    anchors = Page(written).values("id")
    assert len(set(anchors)) == len(anchors)
    assert {value[1:] for value in sources if value.startswith("#")} <= set(anchors)
    assert len(written) < 5_000_000


def test_page_runs_no_script_but_its_own(written):
    assert any(EVIL in text for text in Page(written).texts)
    (script,) = re.findall("<script>(.*?)</script>", written, re.DOTALL)
    assert Page(written).tags.count("script") == 1
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', written)
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
