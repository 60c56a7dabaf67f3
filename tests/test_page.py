"""The page: its first screen, what it holds, and that it needs nothing else."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from helpers.synthetic import PLANNED, edit_record, make_cell
from PIL import Image

from sslbench.cell.record import FAILED
from sslbench.tables import answer
from sslbench.tables.assemble import build_report
from sslbench.tables.contents import Picture
from sslbench.tables.page import write_page

EVIL = "<script>alert(1)</script>"
STEPS = {"steps": 40}


class Page(HTMLParser):
    """Collects a page's elements with their attributes, and what is read, by section."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.handle_data = self.texts.append
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.attributes += attrs

    def values(self, *names):
        return [value or "" for name, value in self.attributes if name in names]


def paper_grid(outputs, seeds=1):
    """Cells of the paper's, one of them collapsed, one failed, one planned, others missing."""
    for seed in range(seeds):
        for model, accuracy in (("convnet", 0.6), ("resnet18", 0.7)):
            for ratio in ("1:1", "1:5", "1:20"):
                reached = 0.1 if (model, ratio) == ("convnet", "1:5") else accuracy + 0.02
                more = {"data": "stl10", "seed": seed, "accuracy": reached}
                make_cell(outputs, model, "semi", ratio, **more)
            make_cell(outputs, model, data="stl10", seed=seed, accuracy=accuracy)
    make_cell(outputs, "wrn45_2", data="stl10", status=PLANNED)
    failed = make_cell(outputs, "wrn45_2", "barlow", data="stl10", status=FAILED, cell_id="failed")
    edit_record(failed, "error/message", EVIL)
    edit_record(failed, "settings/init/from", f"x#{EVIL}")


def page_of(outputs, pictures=(), **options):
    report = build_report(outputs, **options)
    report.folder.mkdir(exist_ok=True)
    report.pictures = list(pictures)
    return report, write_page(report.folder, report).read_text()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("grid")
    paper_grid(outputs)
    svg = outputs / "picture.svg"
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    picture = Picture("it", f"Of {EVIL}", "caption", f"seen {EVIL}", svg, (2.0, 1.0))
    Image.new("RGB", (200, 100), "red").save(next((outputs / "cells").iterdir()) / "images.png")
    return page_of(outputs, [picture])


def first_screen(text):
    return text.partition('<section id="answer"')[2].partition("</section>")[0]


def test_the_first_screen_answers(written):
    report, text = written
    screen = " ".join("".join(Page(first_screen(text)).texts).split())
    for words in (
        "Does “Self and Semi-Supervised Deep Learning” hold?",
        report.verdict,
        "STL-10",
        "seed 0",
        "collapsed: ConvNet semi-supervised 1:5, seed 0 (10.0 %, ",
        "bears on claim 6",
        "failed: WRN-45-2 self-supervised 1:20",
        "planned: WRN-45-2 supervised, seed 0",
        "95 % intervals of images alone: one seed (*)",
        "without the collapsed",
        "6 More unlabelled images help: 1:1 < 1:5 < 1:20 \N{MULTIPLICATION SIGN}",
        report.fill_command,
    ):
        assert words in screen
    assert "NOT STL-10" not in screen
    assert "59.6" in screen  # the paper's, beside ours
    assert screen.index("60.0") < screen.index("More unlabelled")
    effects = [claim.effect for claim in report.main_claims if claim.effect]
    assert first_screen(text).count('class="strip"') == len(effects) + 1


def test_an_own_ablation_comes_first_and_the_paper_stays_out(tmp_path):
    for threshold, accuracy in ((0.0, 0.6), (0.95, 0.7)):
        changes = STEPS | ({"method.threshold": threshold} if threshold else {})
        for seed in range(3):
            more = {"seed": seed, "accuracy": accuracy + 0.01 * seed * (threshold + 1)}
            make_cell(tmp_path, "convnet", "semi", changes=changes, **more)
    report, text = page_of(tmp_path)
    screen = "".join(Page(first_screen(text)).texts)
    assert "What does method.threshold change?" in screen
    assert "its 95 % interval of seeds and images" in screen
    assert "base line" in screen
    assert report.ablations[0].sentence in screen
    assert "Deep Learning" not in text
    assert "Deep Learning" in page_of(tmp_path, with_paper=True)[1]


def test_page_holds_every_table_picture_and_claim(written):
    report, text = written
    found = Page(text)
    for each in (*report.tables, *report.pictures, *report.environment):
        assert each.title in found.texts
    assert {claim.sentence for claim in report.claims} <= set(found.texts)
    assert {each["alt"] for tag, each in found.tags if tag == "img"} > {f"seen {EVIL}"}
    assert re.search(r"data:image/webp;base64,\w+", text)


def test_page_is_read_by_ears_and_keys(written):
    _, text = written
    found = Page(text)
    assert found.tags[found.tags.index(("body", {})) + 1] == (
        "a",
        {"class": "skip", "href": "#answer"},
    )
    for tag, attributes in found.tags:
        if "wide" in attributes.get("class", "").split():
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
        assert tag != "img" or attributes["alt"]
    bodies = re.findall("<tbody>(.*?)</tbody>", text, re.DOTALL)
    lines = [line for body in bodies for line in body.split("<tr>")[1:]]
    assert lines
    assert all(line.startswith('<th scope="row"') for line in lines)


def test_page_needs_nothing_else(written):
    _, text = written
    sources = Page(text).values("src", "href")
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert not re.search(r"https?://|@import|url\(", re.sub(r"base64,[^\"]+", "", text))
    anchors = Page(text).values("id")
    assert len(set(anchors)) == len(anchors)
    assert {value[1:] for value in sources if value.startswith("#")} <= set(anchors)


def test_page_runs_no_script_but_its_own(written):
    _, text = written
    assert any(EVIL in words for words in Page(text).texts)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert [tag for tag, _ in Page(text).tags].count("script") == 1
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_a_page_without_pictures_never_takes_the_place_of_one_with_them(written):
    report, text = written
    before = report.folder / "report.html"
    report.pictures, drawn = [], report.pictures
    beside = write_page(report.folder, report)
    assert beside != before
    assert before.read_text() == text
    assert "picture-it" not in beside.read_text()
    report.pictures = drawn
    assert write_page(report.folder, report) == before


def test_data_and_environment_are_told(tmp_path):
    for seed, code in enumerate(("a", "b", "b")):
        folder = make_cell(tmp_path, seed=seed)
        runtime = {"processor": "a chip", "precision": "bf16", "versions": {"code": code}}
        seconds = {
            "train_seconds": 4.0 + seed,
            "total_seconds": (1.0, 7.0, 9.0)[seed],
        }  # 1: resumed
        edit_record(folder, "runtime", runtime | seconds)
    data, classes, environment, times = (it.values for it in build_report(tmp_path).environment)
    sizes = ["labelled", "unlabelled", "validation", "test"]
    assert data[sizes].to_numpy().tolist() == [[60, 1200, 107, 430]]
    assert classes[["validation", "test"]].sum().tolist() == [107, 430]
    told = environment.set_index("what")
    assert list(told.columns) == ["1 (1 cell)", "2 (2 cells)"]
    assert told.loc["code"].tolist() == ["a", "b"]
    assert told.loc["trained by this code"].tolist() == ["no", "no"]
    told = times.loc[0, ["hardware", "cells", "seconds", "training"]]
    assert told.tolist() == ["a chip", 3, "8", "5"]


def test_what_is_missing_is_named(tmp_path):
    make_cell(tmp_path, "convnet", data="stl10")
    missing = answer.missing_titles(build_report(tmp_path))
    assert len(missing) == 17
    assert "WRN-45-2 semi-supervised 1:20 from self-supervised" in missing
