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
from sslbench.tables.pictures import pictures_started
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


def draw_pictures(report):
    with pictures_started(report) as draw:
        return draw()


def names(pictures):
    return [re.sub("-digits-.*", "", picture.name) for picture in pictures]


def data_of(picture):
    return pd.read_csv(picture.path.with_suffix(".csv"))


# Pictures


def test_every_picture_is_drawn_with_its_data(sweep):
    drawn = names(sweep.pictures)
    assert drawn == ["curves", "ratios", "pseudo-labels", "confusion", "tsne", "pca", "snapshots"]
    assert sweep.problems == []
    for picture in sweep.pictures:
        assert "digits" in picture.title
        assert picture.caption
        pixels = np.asarray(Image.open(picture.path).convert("L"))
        assert min(pixels.shape) > 300
        assert 0.01 < (pixels < 200).mean() < 0.6
        assert len(data_of(picture)) > 1
    assert sum(picture.path.stat().st_size for picture in sweep.pictures) < 1_000_000
    kept = [path.stem.rpartition("-")[2] for path in (sweep.folder / "embeddings").iterdir()]
    assert (kept.count("test"), kept.count("snapshots")) == (6, 2)


def test_curves_are_means_over_seeds(sweep):
    curves = data_of(sweep.pictures[0])
    semi = curves.query("method == 'semi-supervised' and split == 'val' and model == 'resnet18'")
    assert set(semi["n"]) == {2}
    assert 60 < semi["mean"].iloc[-1] < 80
    assert 0 < semi["deviation"].iloc[-1] < 5


def test_ratios_are_in_order_and_in_place(tmp_path):
    for ratio, accuracy in {"1:8": 0.7, "2:13": 0.6, "1:20": 0.8}.items():
        make_cell(tmp_path, "convnet", "semi", ratio, accuracy=accuracy)
    make_cell(tmp_path, "resnet18", "semi", "1:8")
    make_cell(tmp_path, "wrn45_2", "semi", "2:13")
    report = build_report(tmp_path)
    (album,) = [Album(group, report) for group in report.groups]
    album.save = lambda canvas, *_: canvas
    assert album.way_title(("semi", None)) == "semi-supervised\n2:13, 1:8, 1:20"
    ax = draw_ratios(album).axes[2]
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    places = sorted((x, label.get_text()) for x, label in ticks)
    assert places == [(6.5, "2:13"), (8, "1:8"), (20, "1:20")]
    line, *_ = ax.containers[0]
    assert [x * 1.03 for x in line.get_xdata()] == pytest.approx([6.5, 8, 20])
    assert list(line.get_ydata()) == pytest.approx([60, 70, 80], abs=0.2)


def test_long_titles_stay_beside_their_panels(tmp_path, monkeypatch):
    changes = {"steps": 9, "optimizer": "sgd", "optimizer.lr": 0.001}
    long = changes | {"method.projector": [64, 64, 64], "augmentation.view_a.crop.p": 0.25}
    for number, changed in enumerate(({"optimizer.lr": 0.001}, long)):
        start = make_cell(tmp_path, "convnet", "barlow", changes=changed).name
        make_cell(tmp_path, "convnet", "semi", start=start, **FEW, generator=number)
    found = {}

    def find_boxes(_, canvas, name, *__):
        canvas.set_dpi(100)
        FigureCanvasAgg(canvas).draw()
        texts = [text for ax in canvas.axes for text in (ax.title, ax.yaxis.label)]
        boxes = [t.get_window_extent() for t in texts if "semi-supervised" in t.get_text()]
        if boxes:  # the starts are pictures of their own
            found[name] = (boxes, canvas.bbox, canvas.axes[0].get_window_extent())

    monkeypatch.setattr(Album, "save", find_boxes)
    draw_pictures(build_report(tmp_path))
    assert found.keys() == {"curves", "confusion", "tsne", "pca"}
    for (first, second), sheet, panel in found.values():
        assert not first.overlaps(second)
        for box in (first, second):
            assert sheet.x0 <= box.x0 < box.x1 <= sheet.x1
            assert sheet.y0 <= box.y0 < box.y1 <= sheet.y1
        assert panel.width > 160  # hundredths of an inch
        assert panel.height > 130


def test_nothing_is_drawn_from_nothing(tmp_path):
    assert draw_pictures(build_report(tmp_path)) == []
    make_cell(tmp_path)
    assert names(draw_pictures(build_report(tmp_path))) == ["confusion"]


def test_snapshots_of_any_self_supervised_method_are_drawn(tmp_path):
    make_cell(tmp_path, "vit", "simclr", streams=["unlabeled"], **FEW)
    pictures = draw_pictures(build_report(tmp_path))
    assert names(pictures)[-1] == "snapshots"
    assert list(data_of(pictures[-1])["step"]) == [10, 20, 30, 40]


@pytest.mark.parametrize(
    "line",
    [
        None,  # a folder in the file's place
        b'{"step": 9, "lo',
        b"\xff",
        b"5",
        b'{"step": "1", "epoch": 1, "split": "train"}',
        b'{"step": 1, "epoch": [1], "split": "train"}',
        b'{"step": 1, "epoch": 1, "split": "train", "accuracy": {"val": 0.5}}',
        b'{"step": 1, "epoch": 1, "split": "train", "loss": 1' + b"0" * 400 + b"}",
    ],
)
def test_corrupt_curves_are_named_and_left_out(line, tmp_path):
    corrupt = make_cell(tmp_path, "convnet", **FEW) / "metrics.jsonl"
    make_cell(tmp_path, "resnet18", **FEW)
    points = corrupt.read_bytes()
    corrupt.unlink()
    if line is None:
        corrupt.mkdir()
    else:
        corrupt.write_bytes(line + b"\n" + points)
    report = build_report(tmp_path)
    pictures = draw_pictures(report)
    (problem,) = report.problems
    assert str(corrupt) in problem
    assert set(data_of(pictures[0])["model"]) == {"resnet18"}


def test_embeddings_that_cannot_be_read_are_named_and_left_out(tmp_path):
    torn = make_cell(tmp_path, "convnet", **FEW) / "embeddings-test.npz"
    make_cell(tmp_path, "resnet18", **FEW)
    torn.write_bytes(b"PK torn")
    report = build_report(tmp_path)
    pictures = draw_pictures(report)
    assert set(data_of(pictures[2])["model"]) == {"resnet18"}
    assert any(f"{torn.parent.name}-test: {torn}: " in problem for problem in report.problems)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("results/test/confusion", ...),
        ("results/test/confusion", [[1] * 10] * 9 + [[1]]),
        ("results/test/confusion", [["many"] * 10] * 10),
        ("results/test/confusion", [[-1] * 10] * 10),
        ("results/test/confusion", {"airplane": 1}),
        ("data/class_names", ["zero", "one"]),
        ("data/class_names", "0123456789"),
        ("data/class_names", list("abcdefghij")),
    ],
)
def test_confusions_that_do_not_fit_are_named_and_left_out(path, value, tmp_path):
    make_cell(tmp_path, "convnet", accuracy=0.6)
    wrong, _ = (make_cell(tmp_path, "resnet18", seed=seed, accuracy=0.7) for seed in (0, 1))
    edit_record(wrong, path, value)
    report = build_report(tmp_path)
    (picture,) = draw_pictures(report)
    (problem,) = report.problems
    assert problem.startswith(f"{wrong}: not a confusion matrix")
    shares = data_of(picture).set_index(["model", "class"])[[str(digit) for digit in range(10)]]
    for model, accuracy in (("convnet", 60), ("resnet18", 70)):
        diagonal = np.diag(shares.loc[model])
        np.testing.assert_allclose(diagonal, accuracy, atol=0.7)
        np.testing.assert_allclose(shares.loc[model].sum(axis=1), 100)


# The page


class Page(HTMLParser):
    """Counts elements, and collects attributes and what is read."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, *names):
        return [value for _, name, value in self.attributes if name in names]


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
    verdicts = re.findall(r'class="badge \w+">([^<]+)<', written)
    assert len(verdicts) == 2 * len(sweep.claims)
    assert found.tags.count("h1") == 1


def test_page_needs_nothing_else(written):
    sources = Page(written).values("src", "href")
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert not re.search(r"https?://|@import|url\(", re.sub(r"base64,[^\"]+", "", written))
    anchors = Page(written).values("id")
    assert len(set(anchors)) == len(anchors)
    assert {value[1:] for value in sources if value.startswith("#")} <= set(anchors)
    assert len(written) < 5_000_000


def test_page_runs_no_script_but_its_own(sweep, written, tmp_path, monkeypatch):
    assert any(EVIL in text for text in Page(written).texts)
    monkeypatch.setattr(sweep, "problems", [EVIL])
    write_page(tmp_path / "hostile.html", sweep)
    hostile = (tmp_path / "hostile.html").read_text()
    assert "Problems" in Page(hostile).texts
    (script,) = re.findall("<script>(.*?)</script>", hostile, re.DOTALL)
    assert Page(hostile).tags.count("script") == 1
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', hostile)
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_too_many_pictures_are_named_instead(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_IMAGE_BYTES", sweep.pictures[0].path.stat().st_size * 3 // 2)
    write_page(tmp_path / "report.html", sweep)
    text = (tmp_path / "report.html").read_text()
    assert 1 <= Page(text).tags.count("img") < len(sweep.pictures)
    assert str(sweep.pictures[-1].path) in text
