"""Someone's own experiment: settings against a base line, and the paper out of its way."""

import pytest
from helpers.synthetic import make_cell
from scipy import stats

from sslbench.tables.assemble import build_report

SHARED = {"method.eval_every": 4.0}
SEED_MOVES = (0.0, 0.03, -0.02)
"""What a seed does to all settings alike."""
NOISE = {0.0: (0.0, 0.002, 0.001), 0.5: (0.002, 0.0, 0.001), 0.95: (0.001, 0.001, 0.0)}


def sweep(outputs, accuracies, num_seeds=3, shared=SHARED, **more):
    for threshold, accuracy in accuracies.items():
        for seed in range(num_seeds):
            changes = shared | ({"method.threshold": threshold} if threshold else {})
            value = accuracy + SEED_MOVES[seed] + NOISE[threshold][seed]
            make_cell(
                outputs, "convnet", "semi", seed=seed, accuracy=value, changes=changes, **more
            )
    return build_report(outputs)


THREE = {0.0: 0.6, 0.5: 0.602, 0.95: 0.75}


@pytest.mark.parametrize("shared", [SHARED, {}, {"steps": 40, "method.eval_every": 4.0}])
def test_an_own_ablation_is_one_table_and_comes_without_the_paper(shared, tmp_path):
    report = sweep(tmp_path, THREE, shared=shared)
    assert not report.has_paper_cells
    assert (report.claims, report.first_table) == ([], None)
    (table,) = report.tables
    assert table.name == "ablation-digits-semi"
    assert list(table.frame["method.threshold"]) == ["0.0", "0.5", "0.95"]
    assert not {"steps", "method.eval_every"} & set(table.frame)
    assert list(table.frame["test acc: difference"].str[:5]) == ["base ", "+0.23", "+14.9"]
    (ablation,) = report.ablations
    assert ablation.keys == ("method.threshold",)
    assert report.verdict == ablation.sentence
    assert report.verdict.startswith(
        "DIFFERENT on 3 seeds, 1 of 2 differences, the largest: ConvNet with "
        "method.threshold=0.95 is 15.0 points above method.threshold=0.0 (95 % of "
    )
    with_paper = build_report(tmp_path, with_paper=True)
    assert len(with_paper.claims) > 0


def test_settings_are_paired_by_seed(tmp_path):
    """What a seed does to all settings alike is no part of their differences."""
    (ablation,) = sweep(tmp_path, THREE, files=True, num_images=(20, 4000)).ablations
    lines = ablation.values[ablation.values["metric"] == "test acc"]
    found = lines.set_index("method.threshold").loc["0.95"]
    assert found["test"] == "paired t, 3 seeds"
    assert found["difference_of"] == "seeds and images"
    unpaired = stats.ttest_ind([0.6, 0.632, 0.581], [0.751, 0.781, 0.73]).confidence_interval()
    assert found["difference_high"] - found["difference_low"] < (unpaired.high - unpaired.low) / 2
    assert found["p_corrected"] < 1e-3


def test_one_seed_leans_at_most(tmp_path):
    report = sweep(tmp_path, THREE, num_seeds=1)
    assert report.verdict.startswith("LEANS on one seed, 1 of 2 differences, the largest: ")
    assert "*" in report.tables[0].frame["test acc: difference"].iloc[2]
    alike = sweep(tmp_path / "alike", {0.0: 0.6, 0.5: 0.602})
    assert alike.verdict.startswith("NO DIFFERENCE is significant on 3 seeds; the largest: ")


def test_beside_the_papers_cells_an_ablation_comes_last(tmp_path):
    for model in ("convnet", "resnet18"):
        make_cell(tmp_path, model, changes=SHARED)
    report = sweep(tmp_path, THREE)
    assert report.has_paper_cells
    names = [table.name.partition("-")[0] for table in report.tables]
    assert names == ["table1", "table1", "table3", "table3", "ablation"]
    assert report.verdict.startswith("UNDECIDED on ")


def test_settings_without_a_base_line_are_one_ablation(tmp_path):
    report = sweep(tmp_path, {0.5: 0.6, 0.95: 0.7})
    (table,) = report.tables
    assert list(table.frame["test acc: difference"].str[:4]) == ["base", "+9.8"]


def test_an_ablations_numbers_stand_in_their_order(tmp_path):
    for size in (200, 16, 8, 32):
        make_cell(tmp_path, "convnet", "semi", changes={"method.batch_size": size})
    make_cell(tmp_path, "convnet", "semi")
    ablation = build_report(tmp_path).tables[-1].frame
    assert list(ablation["method.batch_size"]) == ["100", "8", "16", "32", "200"]


def test_other_images_are_no_setting_and_none_that_cells_have_in_common(tmp_path):
    for images in "ab":
        changes = SHARED | {"data.fingerprint": images}
        make_cell(tmp_path, "convnet", "semi", changes=changes)
        make_cell(tmp_path, "convnet", "semi", changes=changes | {"method.threshold": 0.9})
    report = build_report(tmp_path)
    assert [each.keys for each in report.ablations] == [("method.threshold",)] * 2
    assert len({each.name for each in report.ablations}) == 2
    assert all(each.values["n"].eq(1).all() for each in report.ablations)


def test_each_cell_of_chance_is_named(tmp_path):
    for threshold in (0.7, 0.9):
        changes = SHARED | {"method.threshold": threshold}
        make_cell(tmp_path, "convnet", "semi", accuracy=0.1, changes=changes)
    assert len(build_report(tmp_path).collapsed) == 2
