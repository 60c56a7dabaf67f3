"""The verdicts on the paper's claims, over made-up grids and on the paper's own numbers."""

from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import edit_record, make_cell, supervised_seeds

from sslbench import paper
from sslbench.tables import judge
from sslbench.tables.assemble import build_report
from sslbench.tables.claims import (
    CONTRADICTED,
    HOLDS,
    LEANS_AGAINST,
    LEANS_FOR,
    NO_DATA,
    UNDECIDED,
    failed_claims,
)
from sslbench.tables.judge import Pair
from sslbench.tables.statistics import Difference

IMAGES = {"num_images": (20, 1000), "files": True}


def claim_of(report, number):
    return report.main_claims[number - 1]


def test_verdicts_on_the_papers_own_numbers_are_those_derived_by_hand():
    """By hand, z = difference / sqrt(2 p (1 - p) / n) and Holm's factors over 22 comparisons.

    1: 1.50 points of 6,400 images, z = 1.90. 2: -3.53 of 1,600, z = -2.03, p = .043 times 10.
    3: 2.72, z = 3.50, p = .0005 times 14. 4: 1.99, z = 2.57, p = .010 times 11. 5: z > 7.
    6: .08 points of 5,000 is nothing, and no difference is negative. 7: it has no table. Of one
    training each, so that nothing is more than a leaning.
    """
    found = {claim.number: claim for claim in judge.paper_claims()}
    verdicts = (UNDECIDED, UNDECIDED, LEANS_FOR, UNDECIDED, LEANS_FOR, UNDECIDED, NO_DATA)
    assert [found[number].verdict for number in range(1, 8)] == list(verdicts)
    assert sum(len(claim.tests) for claim in found.values()) == 22
    order, wrn = found[2].tests.iloc[1], found[4].tests.iloc[0]
    assert (order["comparison"], round(order["difference"], 4)) == ("ResNet18 > ConvNet", -0.0353)
    assert order.p == pytest.approx(0.0425, abs=5e-4)
    assert order.p_corrected == pytest.approx(10 * order.p)
    assert wrn.p_corrected == pytest.approx(11 * wrn.p)
    words = "is 3.5 points below ConvNet in validation accuracy (95 % of images: 0.1 to 6.9)"
    assert f"{words}, which may be chance among so many comparisons" in found[2].sentence


@pytest.mark.parametrize(
    ("number", "found", "verdict"),
    [
        (1, [None], NO_DATA),
        (1, [(0.1, 0.11, 0.001, 3), (0.02, 0.03, 0.001, 3)], HOLDS),
        (1, [(0.1, 0.11, 0.001, 3), (0.02, 0.03, 0.001, 2)], LEANS_FOR),
        (1, [(0.1, 0.11, 0.001, 3), None], UNDECIDED),
        (1, [(0.1, 0.11, 0.001, 3), (0.02, 0.03, 0.2, 3)], UNDECIDED),
        (1, [(0.1, 0.11, 0.001, 3), (-0.02, -0.01, 0.001, 3)], CONTRADICTED),
        (1, [(-0.02, -0.01, 0.001, 3), None], CONTRADICTED),
        (1, [(-0.02, -0.01, 0.001, 1), (0.1, 0.11, 0.001, 3)], LEANS_AGAINST),
        (1, [(-0.02, -0.01, 0.001, 1), (-0.1, -0.08, 0.001, 3)], CONTRADICTED),
        (7, [(0.001, 0.009, 0.8, 3), (-0.05, -0.04, 0.001, 3)], HOLDS),
        (7, [(0.001, 0.009, 0.8, 1)], LEANS_FOR),
        (7, [(0.001, 0.009, 0.8, 3), None], UNDECIDED),
        (7, [(0.001, 0.011, 0.8, 3)], UNDECIDED),
        (7, [(0.005, 0.009, 0.01, 3)], CONTRADICTED),
        (7, [(0.005, 0.009, 0.01, 2)], LEANS_AGAINST),
    ],
)
def test_verdicts_follow_the_rules(number, found, verdict):
    """Of each comparison's difference, upper bound, p-value and seeds."""
    tested = iter(f and (Difference(f[0], 0.0, *f[1:3], 0.0, "t", "images"), f[3]) for f in found)
    pairs = [Pair(number, "a > b", None, None, paper.TEST) for _ in found]
    (claim,) = judge.judge("mine", pairs, lambda _: next(tested))
    assert claim.verdict == verdict
    assert claim.sentence.lower().startswith(verdict)


WAVER = (0.0, 0.012, -0.009, 0.006, -0.004)
"""How seeds move an accuracy; shifted for each model, so that none are alike."""


def grid(folder, num_seeds, accuracies, **more):
    for shift, (model, accuracy) in enumerate(accuracies.items()):
        moves = np.roll(WAVER, shift)[:num_seeds]
        values = {model: tuple(accuracy + moves)}
        supervised_seeds(folder, values, generator=shift, **IMAGES, **more)
    return build_report(folder)


AS_CLAIMED = {"convnet": 0.5, "resnet18": 0.65, "wrn45_2": 0.75}
OPPOSITE = {"convnet": 0.75, "resnet18": 0.65, "wrn45_2": 0.5}
EQUAL = dict.fromkeys(AS_CLAIMED, 0.65)
CLOSEST = "both differences are as claimed, the closest: WRN-45-2 is "
SENTENCES = {
    "as claimed": (
        AS_CLAIMED,
        {
            1: f"Leans for, on one seed: {CLOSEST}",
            2: f"Leans for, on two seeds: {CLOSEST}",
            3: f"Holds, on 3 seeds: {CLOSEST}",
            5: f"Holds, on 5 seeds: {CLOSEST}",
        },
        "above ResNet18 (95 % of {}: ",
    ),
    "opposite": (
        OPPOSITE,
        {
            1: "Leans against, on one seed: WRN-45-2 is ",
            2: "Leans against, on two seeds: WRN-45-2 is ",
            3: "Contradicted, on 3 seeds: WRN-45-2 is ",
            5: "Contradicted, on 5 seeds: WRN-45-2 is ",
        },
        "); 1 more difference is against it.",
    ),
    "equal": (
        EQUAL,
        {
            1: "Undecided, on one seed: ",
            2: "Undecided, on two seeds: ",
            3: "Undecided, on 3 seeds: ",
            5: "Undecided, on 5 seeds: ",
        },
        " above), which may be chance.",
    ),
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_a_claim_gets_the_verdict_and_the_sentence_that_its_seeds_allow(kind, tmp_path):
    accuracies, beginnings, ending = SENTENCES[kind]
    for num_seeds, beginning in beginnings.items():
        report = grid(tmp_path, num_seeds, accuracies)
        claim = claim_of(report, 1)
        what = "images" if num_seeds == 1 else "seeds and images"
        assert claim.sentence.startswith(beginning)
        assert ending.format(what) in claim.sentence
        assert claim.effect.interval_of == what
        assert claim.effect.low < claim.effect.difference < claim.effect.high
        assert (failed_claims(report.claims, [1]) == []) == beginning.startswith("Holds")
        assert f" {beginning.split(', ')[1].partition(':')[0]}: " in report.verdict


def test_missing_cells_leave_a_claim_open(tmp_path):
    del (accuracies := dict(AS_CLAIMED))["wrn45_2"]
    claim = claim_of(grid(tmp_path, 3, accuracies), 1)
    assert claim.verdict == UNDECIDED
    assert claim.sentence.endswith("; 1 of 2 comparisons lacks cells.")
    assert claim_of(build_report(tmp_path), 3).sentence.startswith("No data: no comparison has ")


def test_collapsed_cells_are_named_and_claims_judged_without_them(tmp_path):
    report = grid(tmp_path, 3, AS_CLAIMED)
    assert report.collapsed == {}
    # One seed of the best model guesses: its mean is the lowest, and its seeds vary by far.
    for seed in range(3):
        accuracy = 0.1 if seed == 2 else 0.75 + WAVER[seed]
        make_cell(tmp_path, "wrn45_2", data="stl10", seed=seed, accuracy=accuracy, **IMAGES)
    report = build_report(tmp_path)
    title = "WRN-45-2 supervised, seed 2"
    assert report.collapsed == {title: "10.0 %, chance"}
    claim = claim_of(report, 1)
    assert (claim.verdict, claim.collapsed) == (UNDECIDED, [title])
    # Two of its seeds are left.
    assert claim.without_collapsed.verdict == LEANS_FOR
    assert claim.sentence.endswith(f" Without the collapsed {title}: leans for.")
    assert "(claim 1 hangs on collapsed cells)" in report.verdict
    assert failed_claims(report.claims, [1])[1].endswith("leans for without collapsed cells")
    assert claim_of(report, 2).without_collapsed is None


def test_what_one_class_alone_was_taken_for_is_collapsed(tmp_path):
    folder = make_cell(tmp_path, accuracy=0.3)
    confusion = [[43 if column == 4 else 0 for column in range(10)] for _ in range(10)]
    edit_record(folder, "results/test", {"accuracy": 0.1, "loss": 1.0, "confusion": confusion})
    said = make_cell(tmp_path, "resnet18", accuracy=0.3)
    edit_record(said, "results/collapse", "all 430 embeddings are alike")
    found = build_report(tmp_path).collapsed
    assert found["ConvNet supervised, seed 0"] == "10.0 %, one class"
    assert found["ResNet18 supervised, seed 0"] == "30.0 %, all 430 embeddings are alike"


def test_only_claims_that_hold_without_collapsed_cells_pass_a_check(tmp_path):
    """All of the worst model's cells guess: as claimed, and no sign of anything."""
    report = grid(tmp_path, 3, AS_CLAIMED | {"convnet": 0.1})
    assert claim_of(report, 1).verdict == HOLDS
    assert "without collapsed cells" in " ".join(failed_claims(report.claims, [1]))


def test_what_the_paper_does_not_claim_is_said_where_it_is_significant(tmp_path):
    for method, accuracy in (("supervised", 0.7), ("semi", 0.6)):
        make_cell(tmp_path, "convnet", method, data="stl10", accuracy=accuracy, **IMAGES)
    make_cell(tmp_path, "wrn45_2", data="stl10", accuracy=0.6, **IMAGES)
    report = build_report(tmp_path)
    assert len(report.findings) == 2
    first, second = report.findings
    assert first.startswith("WRN-45-2 supervised is 10.0 points below ConvNet (95 % of images: ")
    assert second.startswith("ConvNet semi-supervised is 10.0 points below supervised (95 % of ")
    assert all(each.endswith("), on one seed") for each in report.findings)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04torn", "arrays of other lengths", None])
def test_without_readable_predictions_shares_are_compared(content, tmp_path):
    supervised_seeds(tmp_path, {"convnet": (0.6,), "resnet18": (0.7,)}, files=True)
    path = next(tmp_path.glob("cells/*convnet*/embeddings-test.npz"))
    if content is None:
        path.unlink()
    elif isinstance(content, str):
        np.savez(path, indices=np.arange(3), labels=np.arange(3), logits=np.zeros((4, 10)))
    else:
        path.write_bytes(content)
    report = build_report(tmp_path)
    assert [str(path) in problem for problem in report.problems] == [True]
    claim = claim_of(report, 1)
    assert (list(claim.tests["test"]), claim.num_missing) == (["z test, seed 0"], 1)


def documented():
    """Rows of the table in docs/statistics.md: the grid, its seeds, and claim 1's sentence."""
    text = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text()
    table = text.partition("## The verdict and the sentence")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(kind, int(number), sentence) for kind, number, sentence in lines[1:]]


def test_each_documented_grid_gets_its_sentence(tmp_path):
    rows = documented()
    assert len(rows) == 18
    accuracies = {"as claimed": AS_CLAIMED, "opposite": OPPOSITE, "equal": EQUAL}
    for kind, num_seeds, sentence in rows:
        folder = tmp_path / f"{kind}-{num_seeds}"
        wanted = dict(accuracies.get(kind, AS_CLAIMED))
        if kind == "WRN-45-2 missing":
            del wanted["wrn45_2"]
        if kind == "no cells":
            make_cell(folder, "resnet18", data="stl10")
        report = grid(folder, num_seeds, wanted)
        if kind == "one collapsed":
            last = {"seed": num_seeds - 1, "accuracy": 0.1, "data": "stl10", "generator": 2}
            make_cell(folder, "wrn45_2", **last, **IMAGES)
            report = build_report(folder)
        assert claim_of(report, 1).sentence == sentence, (kind, num_seeds)
