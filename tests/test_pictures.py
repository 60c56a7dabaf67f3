"""Pictures over made-up cells."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import CLASSES, edit_record, make_cell
from matplotlib.figure import Figure

from sslbench.cell.record import FAILED
from sslbench.machine import calls
from sslbench.palette import BACK, DARK, INK
from sslbench.scatter import STYLE, name_classes, rendered
from sslbench.tables.assemble import build_report
from sslbench.tables.pictures import Drawing
from sslbench.tables.pictures.drawing import save_picture
from sslbench.tables.pictures.embeddings import apart

STEPS = {"steps": 40}
FEW = {"num_images": (60, 80), "files": True, "changes": STEPS}
EVIL = "<script>alert(1)</script>"
UNKIND = [EVIL, "$\\frac$", "$x", "_background_", "a" * 300, "\u200b", "שלום", "😀" * 40, "\ud800"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A report over a small sweep with pictures, one failed cell and hostile names."""
    outputs = tmp_path_factory.mktemp("sweep")
    names = [*CLASSES["digits"][: -len(UNKIND)], *UNKIND]
    for model, accuracy in (("convnet", 0.6), ("resnet18", 0.7)):
        make_cell(outputs, model, accuracy=accuracy, **FEW)
        for seed in range(2):
            for ratio in ("1:1", "1:20"):
                more = {"seed": seed, "accuracy": accuracy + 0.01 * seed}
                make_cell(outputs, model, "semi", ratio, **more, **FEW)
    make_cell(outputs, "resnet18", "barlow", **FEW)
    for folder in (outputs / "cells").iterdir():
        edit_record(folder, "data/class_names", names)
    failed = make_cell(outputs, EVIL, "mine", status=FAILED, cell_id="failed", **FEW)
    edit_record(failed, "error/message", EVIL)
    report = build_report(outputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "allowed_threads", lambda: 2)
        with calls.processes_ended():
            report.pictures = Drawing(report).finish()
    return report


def names(pictures):
    return [re.sub("-digits-.*", "", picture.name) for picture in pictures]


def data_of(picture):
    return pd.read_csv(picture.path.with_suffix(".csv"))


def test_every_picture_is_drawn_with_its_data(sweep):
    drawn = names(sweep.pictures)
    assert drawn[:5] == ["curves", "losses", "pseudo-labels", "ratios", "time-to-accuracy"]
    assert drawn[5:] == ["separation", "tsne", "snapshots", "confusion"]
    assert sweep.problems == []
    for picture in sweep.pictures:
        root = ElementTree.parse(picture.path).getroot()
        elements = list(root.iter())
        assert len(elements) > 50
        referred = {value[1:] for it in elements for value in it.attrib.values() if value[0] == "#"}
        ids = [each.get("id") for each in elements if "id" in each.attrib]
        assert referred <= set(ids)
        assert len(ids) == len(set(ids))
        assert not any("style" in each.attrib for each in elements)
        assert len(data_of(picture)) > 1
        assert len(picture.alt) > len(picture.title)


def test_one_process_draws_the_same_as_several(sweep):
    files = sorted((sweep.folder / "figures").iterdir())
    before = [path.read_bytes() for path in files]
    assert Drawing(sweep).finish() == sweep.pictures
    assert [path.read_bytes() for path in files] == before


def test_a_panel_without_numbers_is_left_out(sweep):
    # Of classes that are neither animals nor vehicles three panels of four are measured.
    (picture,) = [each for each in sweep.pictures if each.name.startswith("separation")]
    assert data_of(picture)["measure"].nunique() == 3
    assert picture.path.read_text().count("<clipPath ") == 3


def test_every_ratio_is_drawn_and_what_collapsed_is_marked(tmp_path):
    for ratio, accuracy in (("1:5", 0.1), ("1:1", 0.6), ("all", 0.7)):
        make_cell(tmp_path, "convnet", "semi", ratio, accuracy=accuracy)
    (ratios,) = [
        it for it in Drawing(build_report(tmp_path)).finish() if it.name.startswith("ratios")
    ]
    assert list(data_of(ratios)["ratio"].unique()) == ["1:1", "1:5", "all"]
    assert "1:1 60.0, 1:5 10.0, all 70.0 (1:5 collapsed)" in ratios.alt
    texts = [each.text for each in ElementTree.parse(ratios.path).iter() if each.text]
    assert {"ConvNet", "collapsed", "1:1", "1:5", "all"} <= set(texts)


def test_an_ablation_is_drawn_against_its_base_line(tmp_path):
    for threshold, accuracy in ((0.0, 0.6), (0.95, 0.7)):
        changes = STEPS | ({"method.threshold": threshold} if threshold else {})
        for seed in range(2):
            more = {"seed": seed, "accuracy": accuracy, "changes": changes}
            make_cell(tmp_path, "convnet", "semi", **more)
    first = Drawing(build_report(tmp_path)).finish()[0]
    assert first.name == "ablation-digits-semi"
    assert "threshold=0.95 +10.0" in first.alt


def luminance(color):
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("light", sorted(set(DARK) - {BACK}))
def test_colours_are_seen_on_light_and_dark_pages(light):
    for color, back in ((light, BACK), (DARK[light], DARK[BACK])):
        low, high = sorted(map(luminance, (color, back)))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_a_picture_is_the_same_file_for_the_same_data_in_each_format(tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        with matplotlib.rc_context(fname=STYLE):
            canvas = Figure((2, 2))
            canvas.subplots().plot([1, 2], "o-", color=INK, label="\ufffe <&'\"")
        titles = ("title", "caption", "alt")
        found = save_picture(
            canvas, folder / "it", titles, pd.DataFrame({"x": [1]}), ["pdf", "png"]
        )
        assert found.path == folder / "it.svg"
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"it.svg", "it.pdf", "it.png", "it.csv"}
    light, _, dark = written[0]["it.svg"].decode().partition("@media (prefers-color-scheme:dark)")
    assert INK in light
    assert DARK[INK] in dark
    assert INK not in dark


def test_names_of_classes_do_not_cover_each_other():
    places, widths = np.zeros((10, 2)), np.full(10, 0.5)
    found = apart(places, widths)
    assert np.diff(np.sort(found[:, 1])).min() > 0.13
    np.testing.assert_array_equal(found[:, 0], 0)
    far = np.arange(10)[:, None] * np.ones(2)
    np.testing.assert_array_equal(apart(far, widths), far)


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
    found = dict(zip(names(sweep.pictures), map(data_of, sweep.pictures), strict=True))
    of_row = "method == 'semi-supervised' and model == 'resnet18' and ratio == '1:20'"
    val = found["curves"].query(of_row)
    assert set(val["n"]) == {2}
    assert 60 < val["mean"].iloc[-1] < 80
    shares = found["confusion"].query(of_row)
    shares = shares.drop(columns=["method", "from", "ratio", "model", "class"])
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    np.testing.assert_allclose(np.diag(shares), 70, atol=8)


@pytest.mark.parametrize(
    ("picture", "damage"),
    [
        ("curves", b"\xff"),
        ("curves", b'{"step": "1", "epoch": 1, "split": "train"}'),
        ("curves", b'{"step": 1, "epoch": 1, "split": "train", "accuracy": {"val": 0.5}}'),
        ("curves", b'{"step": 1, "epoch": 1, "split": "train", "loss": 1' + b"0" * 400 + b"}"),
        ("curves", b"[" * 5000),
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
    pictures = Drawing(report).finish()
    drawn = data_of(pictures[names(pictures).index(picture)])
    assert set(drawn["model"]) == {"convnet"}
    assert wrong.name in report.problems[-1]
