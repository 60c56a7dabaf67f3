"""Embeddings in the plane, pictures, and the HTML report, over made-up cells."""

import json
import re
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from synthetic import CLASSES, make_cell, make_settings

from sslbench.atomic import CurveFile, read_curves
from sslbench.cell.identity import cell_id
from sslbench.cell.record import FAILED
from sslbench.evaluate import projection as embed
from sslbench.evaluate.projection import (
    Embeddings,
    align_tsne,
    choose_points,
    choose_same,
    kept_projections,
    knn_accuracy,
    measure,
    project_pca,
    project_snapshots,
    project_tsne,
    read_embeddings,
)
from sslbench.report import build_report
from sslbench.tables import html as page
from sslbench.tables.figures import figures_started
from sslbench.tables.figures.album import Album
from sslbench.tables.figures.embeddings import Projecting
from sslbench.tables.figures.ratios import draw_ratios
from sslbench.tables.html import write_html

FEW = {"num_images": (60, 80)}
EVIL = "<script>alert(1)</script>"


def clusters(size=90, spread=8.0, seed=0):
    """Points in 12 dimensions of three classes, `spread` apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 3
    points = spread * np.eye(3, 12)[labels] + rng.normal(size=(size, 12))
    return points.astype(np.float32), labels


def embeddings(points, labels):
    return Embeddings(points, labels, np.arange(len(labels)))


# Points and projections


def test_points_are_few_fixed_and_in_proportion():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    chosen = choose_points(labels, 100)
    assert len(np.unique(chosen)) == 100
    assert np.abs(np.bincount(labels[chosen]) - [60, 30, 10]).max() <= 1
    np.testing.assert_array_equal(chosen, choose_points(labels, 100))
    np.testing.assert_array_equal(choose_points(labels[:50], 100), np.arange(50))


def test_pca_keeps_the_most_variance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 5)) * [1, 10, 1, 5, 1]
    found = project_pca(points)
    np.testing.assert_allclose(np.abs(np.corrcoef(found[:, 0], points[:, 1])[0, 1]), 1, atol=1e-2)
    np.testing.assert_allclose(found.std(0), [10, 5], rtol=0.15)
    np.testing.assert_allclose(found, project_pca(points + 3), atol=1e-3)


def test_each_snapshot_starts_from_the_last(monkeypatch):
    starts = []

    def project(points, start=None):
        starts.append(start)
        return points[:, :2]

    monkeypatch.setattr(embed, "project_tsne", project)
    snapshots = [np.full((4, 3), value) for value in (1.0, 2.0, 3.0)]
    align_tsne(snapshots)
    assert starts[0] is None
    np.testing.assert_array_equal(starts[1], snapshots[0][:, :2])
    np.testing.assert_array_equal(starts[2], snapshots[1][:, :2])


def test_aligned_snapshots_keep_points_near_their_places():
    points, _ = clusters(spread=2.0)
    moved = points + np.random.default_rng(1).normal(0, 0.2, points.shape).astype(np.float32)
    # A mirrored start must lead to a mirrored picture: the start decides, not PCA.
    first = project_tsne(points)
    second = project_tsne(moved, -first)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.8


@pytest.mark.parametrize("size", [1, 2, 3, 4, 12])
def test_few_or_collapsed_points_are_projected(size):
    points, labels = clusters(size)
    for values in (points, np.zeros_like(points), points[:, :1]):
        found = project_tsne(values)
        assert found.shape == (size, 2)
        assert np.isfinite(found).all()
        measure(values, found, labels)


def test_numbers_tell_classes_from_noise():
    points, labels = clusters()
    plane = project_tsne(points)
    numbers = measure(points, plane, labels)
    assert numbers.knn == numbers.knn_2d == 1
    assert numbers.silhouette > 0.5
    assert numbers.silhouette_2d > 0.5
    assert numbers.trustworthiness > 0.85
    shuffled = np.random.default_rng(0).permutation(labels)
    assert abs(knn_accuracy(points, shuffled) - 1 / 3) < 0.2
    noise = measure(points, np.random.default_rng(0).normal(size=plane.shape), shuffled)
    assert abs(noise.silhouette) < 0.1
    assert noise.trustworthiness < 0.7


def test_a_point_does_not_vote_for_itself():
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    assert knn_accuracy(points, np.array([0, 1, 2, 3])) == 0


def test_coordinates_are_kept_until_embeddings_change(tmp_path):
    points, labels = clusters(40)
    snapshots = choose_same([embeddings(points, labels), embeddings(points + 0.1, labels)], 30)
    path = tmp_path / "kept.npz"
    assert kept_projections(path, snapshots) is None
    found = project_snapshots(path, snapshots)
    again = kept_projections(path, snapshots)
    assert {kind: len(each) for kind, each in again.items()} == {"pca": 2, "tsne": 2}
    for kind in found:
        for new, kept in zip(found[kind], again[kind], strict=True):
            np.testing.assert_array_equal(new.coordinates, kept.coordinates)
            assert new.numbers == kept.numbers
            assert len(kept.labels) == 30
    moved = choose_same([embeddings(points, labels), embeddings(points + 0.2, labels)], 30)
    assert kept_projections(path, moved) is None
    path.write_bytes(b"torn")
    assert kept_projections(path, snapshots) is None


def test_snapshots_of_other_images_are_refused():
    points, labels = clusters(20)
    other = Embeddings(points, labels, np.arange(20) + 1)
    with pytest.raises(ValueError, match="not of the same images"):
        choose_same([embeddings(points, labels), other])


def test_embeddings_that_cannot_be_projected_are_named(tmp_path):
    path = tmp_path / "embeddings-test.npz"
    np.savez(path, embeddings=np.array([[np.inf]]), labels=np.zeros(1), indices=np.zeros(1))
    with pytest.raises(ValueError, match="not finite"):
        read_embeddings(path)
    for shape, labels in (((3,), 3), ((3, 2), 2)):
        np.savez(path, embeddings=np.ones(shape), labels=np.zeros(labels), indices=np.zeros(3))
        with pytest.raises(ValueError, match="do not belong together"):
            read_embeddings(path)
    np.savez(path, embeddings=np.ones((3, 0)), labels=np.zeros(3), indices=np.zeros(3))
    with pytest.raises(ValueError, match="no embeddings"):
        read_embeddings(path)
    path.write_bytes(b"PK torn")
    with pytest.raises(ValueError, match="not a file of embeddings"):
        read_embeddings(path)


# Pictures


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A report over a small sweep with pictures, one failed cell and hostile class names."""
    outputs = tmp_path_factory.mktemp("sweep")
    names = CLASSES["digits"]
    CLASSES["digits"] = [*names[:3], EVIL, "$\\frac$", *names[5:]]
    steps = ("steps=60",)
    for model, accuracy in (("convnet", 0.6), ("resnet18", 0.7)):
        for method in ("supervised", "barlow"):
            settings = make_settings(model, method, overrides=steps)
            make_cell(outputs, settings, accuracy=accuracy, **FEW)
        for seed in range(2):
            for ratio in ("1:1", "1:20"):
                settings = make_settings(model, "semi", ratio, seed=seed, overrides=steps)
                make_cell(outputs, settings, accuracy=accuracy + 0.01 * seed, **FEW)
    failed = make_cell(outputs, make_settings("wrn45_2", overrides=steps), status=FAILED)
    record = failed / "record.json"
    record.write_text(record.read_text().replace("not finite", EVIL))
    report = build_report(outputs)
    report.folder.mkdir()
    report.figures = draw_figures(report)
    yield report
    CLASSES["digits"] = names


def draw_figures(report):
    with figures_started(report) as draw:
        return draw()


def names(figures):
    return [re.sub("-digits-.*", "", figure.name) for figure in figures]


ALL = ["curves", "ratios", "pseudo-labels", "confusion", "tsne", "pca", "snapshots"]


def test_every_picture_is_drawn_with_its_data(sweep):
    assert names(sweep.figures) == ALL
    assert sweep.problems == []
    for figure in sweep.figures:
        assert "digits" in figure.title
        assert figure.caption
        pixels = np.asarray(Image.open(figure.path).convert("L"))
        assert min(pixels.shape) > 300
        assert 0.01 < (pixels < 200).mean() < 0.6
        assert len(figure.path.with_suffix(".csv").read_text().splitlines()) > 2
    assert sum(figure.path.stat().st_size for figure in sweep.figures) < 1_000_000
    kept = {path.name for path in (sweep.folder / "embeddings").iterdir()}
    assert len([name for name in kept if name.endswith("-test.npz")]) == 6
    assert len([name for name in kept if name.endswith("-snapshots.npz")]) == 2


def test_what_lost_workers_did_not_project_is_projected_here(tmp_path):
    for model in ("convnet", "resnet18"):
        make_cell(tmp_path, make_settings(model, overrides=("steps=40",)), **FEW)
    report = build_report(tmp_path)

    def lose_workers(made):
        yield made[0]
        raise BrokenProcessPool

    (album,) = [Album(group, report) for group in report.groups]
    projecting = Projecting(album)
    first, second = projecting.missing()
    projecting.finish(lose_workers([project_snapshots(first.kept, first.snapshots)]))
    assert projecting.missing() == []
    for each in (first, second):
        expected = kept_projections(each.kept, each.snapshots)["tsne"][0].coordinates
        np.testing.assert_array_equal(each.of("tsne")[0].coordinates, expected)


def test_curves_are_means_over_seeds(sweep):
    figure = next(figure for figure in sweep.figures if figure.name.startswith("curves"))
    lines = figure.path.with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "method,from,split,model,step,epoch,mean,deviation,n"
    semi = [line.split(",") for line in lines if line.startswith("semi-supervised,,val,resnet18")]
    assert {line[-1] for line in semi} == {"2"}
    assert 60 < float(semi[-1][6]) < 80
    assert 0 < float(semi[-1][7]) < 5


def album_of(outputs):
    """An album of the one group of cells; it returns pictures instead of saving them."""
    report = build_report(outputs)
    (album,) = [Album(group, report) for group in report.groups]
    album.save = lambda canvas, *_: canvas
    return album


def test_ratios_are_placed_by_unlabelled_images_per_labelled_one(tmp_path):
    ratios = {"1:8": 0.7, "2:13": 0.6, "1:20": 0.8}
    for ratio, accuracy in ratios.items():
        settings = make_settings("convnet", "semi", ratio, overrides=("steps=40",))
        make_cell(tmp_path, settings, accuracy=accuracy, files=False)
    ax = draw_ratios(album_of(tmp_path)).axes[2]
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    assert sorted((x, label.get_text()) for x, label in ticks) == [
        (6.5, "2:13"),
        (8, "1:8"),
        (20, "1:20"),
    ]
    line, *_ = ax.containers[0]
    assert [x * 1.03 for x in line.get_xdata()] == pytest.approx([6.5, 8, 20])
    assert list(line.get_ydata()) == pytest.approx([60, 70, 80], abs=0.2)


def test_ratios_are_named_in_the_order_of_unlabelled_images_per_labelled_one(tmp_path):
    for model, ratio in (("convnet", "2:13"), ("resnet18", "1:8"), ("wrn45_2", "all")):
        settings = make_settings(model, "semi", ratio, overrides=("steps=40",))
        make_cell(tmp_path, settings, files=False)
    title = album_of(tmp_path).way_title(("semi", None))
    assert title == "semi-supervised\n2:13, 1:8, all"


def test_long_titles_stay_beside_their_panels(tmp_path, monkeypatch):
    monkeypatch.setitem(CLASSES, "digits", list("0123456789"))  # the fixture's are long
    changes = ("steps=9", "optimizer=sgd", "optimizer.lr=0.001", "method.projector=[64,64,64]")
    long = (*changes, "augmentation.view_a.crop_scale=[0.2,1.0]")
    child = make_settings("convnet", "semi", overrides=("steps=40",))
    for overrides in (("steps=9", "optimizer.lr=0.001"), long):
        parent = make_settings("convnet", "barlow", overrides=overrides)
        make_cell(tmp_path, parent, files=False)
        make_cell(tmp_path, replace(child, init={"from": cell_id(parent)}), **FEW)
    found = {}

    def measure(_, canvas, name, *__):
        canvas.set_dpi(100)
        FigureCanvasAgg(canvas).draw()
        texts = [text for ax in canvas.axes for text in (ax.title, ax.yaxis.label)]
        boxes = [t.get_window_extent() for t in texts if "semi-supervised" in t.get_text()]
        if boxes:  # the starts are pictures of their own
            found[name] = (boxes, canvas.bbox, canvas.axes[0].get_window_extent())

    monkeypatch.setattr(Album, "save", measure)
    draw_figures(build_report(tmp_path))
    assert found.keys() == {"curves", "confusion", "tsne", "pca"}
    for (first, second), sheet, panel in found.values():
        assert not first.overlaps(second)
        for box in (first, second):
            assert sheet.x0 <= box.x0 < box.x1 <= sheet.x1
            assert sheet.y0 <= box.y0 < box.y1 <= sheet.y1
        assert panel.width > 160  # hundredths of an inch
        assert panel.height > 130


def test_nothing_is_drawn_from_nothing(tmp_path):
    report = build_report(tmp_path)
    assert draw_figures(report) == []
    make_cell(tmp_path, make_settings("convnet", overrides=("steps=40",)), files=False)
    assert names(draw_figures(build_report(tmp_path))) == ["confusion"]


def test_unreadable_files_are_named_and_the_rest_is_drawn(tmp_path):
    steps = ("steps=40",)
    torn = make_cell(tmp_path, make_settings("convnet", overrides=steps), **FEW)
    make_cell(tmp_path, make_settings("resnet18", overrides=steps), **FEW)
    (torn / "embeddings-test.npz").write_bytes(b"PK torn")
    (torn / "metrics.jsonl").write_text("5\n")
    report = build_report(tmp_path)
    assert names(draw_figures(report)) == ["curves", "confusion", "tsne", "pca"]
    for name in ("embeddings-test.npz", "metrics.jsonl"):
        assert any(str(torn / name) in problem for problem in report.problems)
    assert all(torn.name in problem for problem in report.problems)


def break_curves(folder, kind):
    """Damage a cell's curves in one way."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "torn inside":
        path.write_text("".join([*lines[:2], '{"step": 9, "lo\n', *lines[2:]]))
    elif kind == "not UTF-8":
        path.write_bytes("".join(lines[:2]).encode() + b"\xff\n" + "".join(lines[2:]).encode())
    elif kind == "no object":
        path.write_text("".join([*lines, "5\n"]))
    else:
        name, value = kind
        point = json.loads(lines[0]) | {name: value}
        path.write_text("".join([json.dumps(point) + "\n", *lines[1:]]))


@pytest.mark.parametrize(
    "kind",
    [
        "folder",
        "torn inside",
        "not UTF-8",
        "no object",
        ("step", "1"),
        ("step", [1]),
        ("epoch", "first"),
        ("loss", "low"),
        ("accuracy", {"val": 0.5}),
        ("loss", 10**400),
    ],
    ids=str,
)
def test_corrupt_curves_are_named_and_left_out(kind, tmp_path):
    steps = ("steps=40",)
    corrupt = make_cell(tmp_path, make_settings("convnet", overrides=steps), **FEW)
    make_cell(tmp_path, make_settings("resnet18", overrides=steps), **FEW)
    break_curves(corrupt, kind)
    report = build_report(tmp_path)
    figure = draw_figures(report)[0]
    assert names([figure]) == ["curves"]
    (problem,) = report.problems
    assert str(corrupt / "metrics.jsonl") in problem
    drawn = figure.path.with_suffix(".csv").read_text()
    assert "resnet18" in drawn
    assert "convnet" not in drawn


def test_a_line_of_a_curve_may_be_torn_only_at_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_curves(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: "):
        read_curves(path)
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: "):
        CurveFile(path).keep_until(1)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("confusion", None),
        ("confusion", [[1, 2], [3, 4]]),
        ("confusion", [[1] * 10] * 9),
        ("confusion", [[1] * 10] * 9 + [[1]]),
        ("confusion", [["many"] * 10] * 10),
        ("confusion", [[-1] * 10] * 10),
        ("confusion", {"airplane": 1}),
        ("class_names", None),
        ("class_names", ["zero", "one"]),
        ("class_names", "0123456789"),
        ("class_names", list("abcdefghij")),
    ],
)
def test_confusions_that_do_not_fit_are_named_and_left_out(place, value, tmp_path):
    steps = ("steps=40",)
    kept = make_cell(tmp_path, make_settings("convnet", overrides=steps), **FEW)
    seeds = [make_settings("resnet18", seed=seed, overrides=steps) for seed in (0, 1)]
    wrong, right = (make_cell(tmp_path, settings, **FEW) for settings in seeds)
    record = json.loads((wrong / "record.json").read_text())
    part = record["results"]["test"] if place == "confusion" else record["data"]
    part[place] = value
    if value is None:
        del part[place]
    (wrong / "record.json").write_text(json.dumps(record))
    report = build_report(tmp_path)
    figures = draw_figures(report)
    assert names(figures) == ["curves", "confusion", "tsne", "pca"]
    (problem,) = report.problems
    assert problem.startswith(f"{wrong}: not a confusion matrix")
    shares = pd.read_csv(figures[1].path.with_suffix(".csv"))
    expected = [json.loads((cell / "record.json").read_text()) for cell in (kept, right)]
    for found, record in zip((shares[:10], shares[10:]), expected, strict=True):
        counts = np.array(record["results"]["test"]["confusion"])
        np.testing.assert_allclose(found.iloc[:, 4:], 100 * counts / counts.sum(1, keepdims=True))


# HTML


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


@pytest.fixture
def written(sweep, tmp_path):
    write_html(tmp_path / "report.html", sweep)
    return (tmp_path / "report.html").read_text()


def test_page_holds_every_table_figure_and_claim(sweep, written):
    found = Page(written)
    text = " ".join(found.texts)
    for each in (*sweep.tables, *sweep.figures):
        assert each.title in found.texts
    for claim in sweep.claims:
        assert claim.sentence in text
    commands = {command for table in sweep.tables for command in table.commands}
    assert commands
    assert commands <= set(found.texts)
    images = [value for tag, name, value in found.attributes if (tag, name) == ("img", "src")]
    assert len(images) == len(sweep.figures)
    alternatives = [value for tag, name, value in found.attributes if (tag, name) == ("img", "alt")]
    assert all(alternatives)
    verdicts = re.findall(r'class="badge \w+">([^<]+)<', written)
    assert len(verdicts) == 2 * len(sweep.claims)
    assert found.tags.count("h1") == 1


def test_page_needs_nothing_else(written):
    found = Page(written)
    sources = [value for _, name, value in found.attributes if name in ("src", "href")]
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert not re.search(r"https?://|@import|url\(", re.sub(r"base64,[^\"]+", "", written))
    anchors = {value for _, name, value in found.attributes if name == "id"}
    assert {value[1:] for value in sources if value.startswith("#")} <= anchors
    assert len(written) < 5_000_000


def test_page_runs_no_script_but_its_own(sweep, written):
    found = Page(written)
    assert found.tags.count("script") == 1
    assert any(EVIL in text for text in found.texts)
    sweep.problems.append(EVIL)
    try:
        write_html(sweep.folder / "report.html", sweep)
    finally:
        sweep.problems.remove(EVIL)
    hostile = (sweep.folder / "report.html").read_text()
    assert "Problems" in Page(hostile).texts
    assert Page(hostile).tags.count("script") == 1
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', hostile)
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_too_many_pictures_are_named_instead(sweep, tmp_path, monkeypatch):
    first = sweep.figures[0].path.stat().st_size
    monkeypatch.setattr(page, "MAX_IMAGE_BYTES", first * 3 // 2)
    write_html(tmp_path / "report.html", sweep)
    text = (tmp_path / "report.html").read_text()
    assert 1 <= Page(text).tags.count("img") < len(sweep.figures)
    assert str(sweep.figures[-1].path) in text


def test_page_over_nothing_is_written(tmp_path):
    write_html(tmp_path / "report.html", build_report(tmp_path))
    text = (tmp_path / "report.html").read_text()
    assert "no cells" in text
    assert "Problems" not in Page(text).texts
