"""Someone's own images or encoders: her cells against each other, the paper out of the way."""

import pytest
from helpers import recompute
from helpers.synthetic import make_cell

from sslbench.tables.assemble import build_report, write_report

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
    page = write_report(report, with_pictures=False).read_text()
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
        "LEANS on one seed: resnet18d semi-supervised all epochs=9.0 is 10.0 "
    )


def test_one_training_says_what_it_reaches(tmp_path):
    make_cell(tmp_path, "resnet18d", data="folder")
    report = build_report(tmp_path)
    assert report.ablations[0].question == "What does resnet18d reach on folder?"
    assert report.verdict.startswith("resnet18d reaches 70.0 % (95 % of images: 65.5 to 74.1)")
