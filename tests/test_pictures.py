"""Pictures and the page, over made-up cells."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from synthetic import CLASSES, edit_record, make_cell

from sslbench.cell.record import FAILED
from sslbench.report import build_report
from sslbench.tables import page
from sslbench.tables.page import write_page
from sslbench.tables.pictures import draw_pictures
from sslbench.tables.pictures.album import Album
from sslbench.tables.pictures.ratios import draw_ratios

FEW = {"num_images": (60, 80), "files": True, "changes": {"steps": 40}}
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A report over a small sweep with pictures, one failed cell and hostile names."""
    outputs = tmp_path_factory.mktemp("sweep")
    names = [*CLASSES["digits"][:3], EVIL, "$\\frac$", *CLASSES["digits"][5:]]
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


# Pictures


def test_every_picture_is_drawn_with_its_data(sweep):
    drawn = names(sweep.pictures)
    assert drawn == ["curves", "pseudo-labels", "ratios", "confusion", "tsne", "snapshots"]
    assert sweep.problems == []
    for picture in sweep.pictures:
        assert "digits" in picture.title
        assert picture.caption
        pixels = np.asarray(Image.open(picture.path).convert("L"))
        assert min(pixels.shape) > 300
        assert 0.01 < (pixels < 200).mean() < 0.6
        assert len(data_of(picture)) > 1
    assert sum(picture.path.stat().st_size for picture in sweep.pictures) < 1_000_000


def test_data_are_means_over_seeds_in_percent(sweep):
    curves, _, _, confusion, *_ = map(data_of, sweep.pictures)
    of_row = "method == 'semi-supervised' and model == 'resnet18'"
    val = curves.query(f"{of_row} and split == 'val'")
    assert set(val["n"]) == {2}
    assert 60 < val["mean"].iloc[-1] < 80
    shares = confusion.query(of_row).drop(columns=["method", "from", "model", "class"])
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    np.testing.assert_allclose(np.diag(shares), 70, atol=8)


def test_ratios_are_in_order_and_in_place(tmp_path):
    for ratio, accuracy in {"1:8": 0.7, "2:13": 0.6, "1:20": 0.8}.items():
        make_cell(tmp_path, "convnet", "semi", ratio, accuracy=accuracy)
    report = build_report(tmp_path)
    album = Album(report.groups[0], report)
    album.save = lambda canvas, *_: canvas
    (canvas,) = draw_ratios(album)
    *_, ax = canvas.axes
    places = zip(ax.get_xticks(), [label.get_text() for label in ax.get_xticklabels()], strict=True)
    assert sorted(places) == [(6.5, "2:13"), (8, "1:8"), (20, "1:20")]
    line, *_ = ax.containers[0]
    assert list(line.get_ydata()) == pytest.approx([60, 70, 80], abs=0.2)


def test_long_titles_stay_beside_their_panels(tmp_path, monkeypatch):
    changes = {"steps": 9, "optimizer": "sgd", "optimizer.lr": 0.001}
    long = changes | {"method.projector": [64, 64, 64], "augmentation.view_a.crop.p": 0.25}
    for number, changed in enumerate(({"optimizer.lr": 0.001}, long)):
        start = make_cell(tmp_path, "convnet", "barlow", changes=changed).name
        make_cell(tmp_path, "convnet", "semi", start=start, **FEW, generator=number)
    found = []

    def find_boxes(_, canvas, name, *__):
        canvas.set_dpi(100)
        FigureCanvasAgg(canvas).draw()
        texts = [text for ax in canvas.axes for text in (ax.title, ax.yaxis.label)]
        boxes = [t.get_window_extent() for t in texts if "semi-supervised" in t.get_text()]
        if boxes:  # the starts are pictures of their own
            first, second = boxes
            found.append(name)
            assert not first.overlaps(second)
            assert canvas.bbox.x0 <= min(first.x0, second.x0)
            assert canvas.bbox.y0 <= min(first.y0, second.y0)
            assert max(first.y1, second.y1) <= canvas.bbox.y1
            panel = canvas.axes[0].get_window_extent()
            assert min(panel.width, panel.height) > 130  # hundredths of an inch

    monkeypatch.setattr(Album, "save", find_boxes)
    draw_pictures(build_report(tmp_path))
    assert found == ["curves", "confusion", "tsne"]


def test_nothing_is_drawn_from_nothing(tmp_path):
    assert draw_pictures(build_report(tmp_path)) == []
    make_cell(tmp_path)
    assert names(draw_pictures(build_report(tmp_path))) == ["confusion"]


def test_snapshots_of_any_self_supervised_method_are_drawn(tmp_path):
    make_cell(tmp_path, "vit", "simclr", streams=["unlabeled"], **FEW)
    pictures = draw_pictures(build_report(tmp_path))
    assert names(pictures)[-1] == "snapshots"
    files = [f"snapshot-0000{step}.npz" for step in (10, 20, 30, 40)]
    assert list(data_of(pictures[-1])["file"]) == files


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


# The page


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


def test_too_many_pictures_are_named_instead(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_IMAGE_BYTES", sweep.pictures[0].path.stat().st_size * 3 // 2)
    write_page(tmp_path / "report.html", sweep)
    text = (tmp_path / "report.html").read_text()
    assert 1 <= Page(text).tags.count("img") < len(sweep.pictures)
    assert str(sweep.pictures[-1].path) in text
