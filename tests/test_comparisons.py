"""Someone's own images or encoders: her cells against each other, the paper out of the way."""

import pytest
from helpers import recompute
from helpers.synthetic import make_cell

from sslbench.tables.assemble import build_report, write_report
from sslbench.tables.text import to_text

METHODS = {"supervised": 0.6, "barlow": 0.5, "semi": 0.7}


def own_cells(outputs, models=("resnet18d", "vit_tiny"), num_seeds=3, **more):
    for m, (method, accuracy) in enumerate(METHODS.items()):
        for i, model in enumerate(models):
            for seed in range(num_seeds):
                reached = accuracy + 0.05 * i + 0.01 * (seed - 1) * (1 + (m + i) % 2)
                choices = {"data": "folder", "root": "photos", "seed": seed, "accuracy": reached}
                make_cell(outputs, model, method, "all", **{**choices, **more})
    return build_report(outputs)


@pytest.mark.parametrize("models", [("resnet18d", "vit_tiny"), ("convnet", "resnet18")])
def test_own_images_are_compared_without_the_paper(models, tmp_path):
    report = own_cells(tmp_path, models, files=True, num_images=(40, 300))
    assert not report.has_paper_cells
    (comparison,) = report.ablations
    assert comparison.question == "How do methods and models compare on folder?"
    names = [table.name.partition("-")[0] for table in report.tables]
    assert names == ["comparison", "time"]
    assert (report.claims, report.first_table.paper_heading) == ([], None)
    assert [line.kind for line in report.first_table.lines] == [
        *("supervised", "self-supervised", "semi-supervised all")
    ]
    page = write_report(report).read_text()
    assert "the paper" not in page.lower()
    assert "STL-10" not in page
    assert report.verdict.startswith("BEST on 3 seeds: ")
    assert build_report(tmp_path, with_paper=True).has_paper_cells


def test_differences_are_from_the_plainest_line_on_the_same_images(tmp_path):
    report = own_cells(tmp_path, files=True, num_images=(40, 300))
    values = report.ablations[0].values
    test = values[values["metric"] == "test acc"].set_index(["method", "model"])
    assert test["is_base"].tolist() == [True] + [False] * 5
    rows = recompute.read_rows(tmp_path)
    base, p = rows["supervised", "resnet18d", None, None], []
    for (method, model), line in test.iloc[1:].iterrows():
        side = rows[method, model, None if method == "supervised" else "all", None]
        *found, p_value = recompute.difference_of(rows, side, base, "test")
        p.append(p_value)
        assert list(line[["difference", "difference_low", "difference_high"]]) == pytest.approx(
            found
        )
    assert test["p_corrected"].dropna().tolist() == pytest.approx(recompute.holm(p), rel=1e-6)


def test_methods_with_settings_of_their_own_are_one_comparison(tmp_path):
    for method, epochs in (("supervised", 9.0), ("barlow", 3.0), ("semi", 9.0)):
        more = {"data": "folder", "changes": {"method.epochs": epochs}}
        make_cell(tmp_path, "resnet18d", method, "all", **more, accuracy=METHODS[method])
    report = build_report(tmp_path)
    (comparison,) = report.ablations
    assert comparison.keys == ("method", "method.epochs")
    assert report.verdict.startswith(
        "LEANS on one seed: resnet18d semi-supervised is 10.0 points above the base line, "
    )


def test_one_training_says_what_it_reaches(tmp_path):
    make_cell(tmp_path, "resnet18d", data="folder")
    report = build_report(tmp_path)
    assert report.ablations[0].question == "What does resnet18d reach on folder?"
    assert report.verdict.startswith("resnet18d reaches 70.0 % (95 % of images: 65.5 to 74.1)")


def recipes(outputs, **more):
    """Rows of the paper's, of which none is in a claim, and methods in recipes of their own."""
    choices = {"data": "layout", "root": "shaped", **more}
    strong = {"preset": "strong_semi", "method.threshold": 0.95}
    for seed in range(3):
        moved = {"seed": seed, **choices}
        for method, changes, accuracy in (
            ("supervised", {}, 0.3),
            ("supervised", {"preset": "strong_supervised", "steps": 300}, 0.5),
            ("semi", {}, 0.1),
            ("fixmatch", strong, 0.4),
        ):
            reached = accuracy + 0.004 * seed
            ratio = "1:5" if method != "supervised" else "1:20"
            streams = None if method == "supervised" else ["labeled", "unlabeled"]
            options = {"changes": changes, "accuracy": reached, "streams": streams, **moved}
            make_cell(outputs, "convnet", method, ratio, **options)


def test_where_no_claim_can_be_tested_own_comparisons_come_first(tmp_path):
    recipes(tmp_path)
    report = build_report(tmp_path)
    assert not report.has_paper_cells
    comparison = report.ablations[0]
    assert comparison.question == "How do methods compare on shaped?"
    assert report.verdict.startswith(
        "BEST on 3 seeds: ConvNet supervised preset=strong_supervised steps=300 is 20.0 points "
        "above the base line, ConvNet supervised (95 % of seeds and images: "
    )
    assert list(comparison.values["name"].unique()) == [
        "ConvNet supervised",
        "ConvNet supervised preset=strong_supervised steps=300",
        "ConvNet semi-supervised",
        "ConvNet fixmatch",
    ]
    assert list(report.tables[0].frame["settings"]) == [
        *("", "preset=strong_supervised steps=300", "", "preset=strong_semi threshold=0.95")
    ]
    page = write_report(report).read_text().lower()
    assert not {"no data", "hold?"} & set(page.split())
    beside = write_report(build_report(tmp_path, with_paper=True))
    assert "no data" in beside.read_text()


def test_the_papers_question_comes_first_where_a_claim_can_be_tested(tmp_path):
    make_cell(tmp_path / "one", "convnet", data="layout", root="shaped")
    assert build_report(tmp_path / "one").has_paper_cells
    recipes(tmp_path)
    for status in ("planned", "done"):
        make_cell(tmp_path, "resnet18", data="layout", root="shaped", status=status)
        assert build_report(tmp_path).has_paper_cells


def test_a_terminal_of_80_columns_shows_tables_without_wrapping(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    recipes(tmp_path / "own")
    for method in ("supervised", "barlow", "semi"):
        for model in ("convnet", "resnet18", "wrn45_2"):
            make_cell(tmp_path / "paper", model, method, data="stl10")
    own, paper = (build_report(tmp_path / name) for name in ("own", "paper"))
    texts = [to_text(table) for table in (*own.tables, *paper.tables)]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80
    assert "paper 59.58" in texts[len(own.tables)]
    assert "p < 0.001" in texts[0]
    assert "in comparison-shaped.csv alone: " in texts[0]
    monkeypatch.setenv("COLUMNS", "300")
    assert "alone" not in "".join(map(to_text, own.tables))
