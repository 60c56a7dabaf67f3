"""The verdicts on the paper's claims, over made-up cells and on the paper's own numbers."""

import numpy as np
import pytest
from helpers.synthetic import supervised_seeds

from sslbench.report import build_report
from sslbench.tables import claims, paper
from sslbench.tables.claims import CONTRADICTED, HOLDS, NO_DATA, UNDECIDED, Pair
from sslbench.tables.statistics import Difference


def claim_of(report, number, group_has="STL-10"):
    return next(c for c in report.claims if c.number == number and group_has in c.group)


def test_verdicts_on_the_papers_own_numbers_are_those_derived_by_hand():
    """By hand, z = difference / sqrt(2 p (1 - p) / n) and Holm's factors over 22 comparisons.

    1: 1.50 points of 6,400 images, z = 1.90. 2: -3.53 of 1,600, z = -2.03, p = .043 times 10.
    3: 2.72, z = 3.50, p = .0005 times 14. 4: 1.99, z = 2.57, p = .010 times 11. 5: z > 7.
    6: .08 points of 5,000 is nothing, and no difference is negative. 7: it has no table.
    """
    found = {claim.number: claim for claim in claims.paper_claims()}
    verdicts = (UNDECIDED, UNDECIDED, HOLDS, UNDECIDED, HOLDS, UNDECIDED, NO_DATA)
    assert [found[number].verdict for number in range(1, 8)] == list(verdicts)
    assert sum(len(claim.tests) for claim in found.values()) == 22
    order, wrn = found[2].tests.iloc[1], found[4].tests.iloc[0]
    assert (order["comparison"], round(order["difference"], 4)) == ("ResNet18 > ConvNet", -0.0353)
    assert order.p == pytest.approx(0.0425, abs=5e-4)
    assert order.p_corrected == pytest.approx(10 * order.p)
    assert wrn.p_corrected == pytest.approx(11 * wrn.p)
    assert "-3.53 points of val acc" in found[2].sentence


@pytest.mark.parametrize(
    ("number", "found", "verdict"),
    [
        (1, [None], NO_DATA),
        (1, [(0.1, 0.11, 0.001), (0.02, 0.03, 0.001)], HOLDS),
        (1, [(0.1, 0.11, 0.001), None], UNDECIDED),
        (1, [(0.1, 0.11, 0.001), (0.02, 0.03, 0.2)], UNDECIDED),
        (1, [(0.1, 0.11, 0.001), (-0.02, -0.01, 0.001)], CONTRADICTED),
        (1, [(-0.02, -0.01, 0.001), None], CONTRADICTED),
        (7, [(0.001, 0.009, 0.8), (-0.05, -0.04, 0.001)], HOLDS),
        (7, [(0.001, 0.009, 0.8), None], UNDECIDED),
        (7, [(0.001, 0.011, 0.8)], UNDECIDED),
        (7, [(0.005, 0.009, 0.01)], CONTRADICTED),
    ],
)
def test_verdicts_follow_the_rules(number, found, verdict):
    """Of each comparison's difference, upper bound and p-value."""
    differences = iter(f and Difference(f[0], 0.0, *f[1:], 0.0, "t") for f in found)
    pairs = [Pair(number, "a > b", None, None, paper.TEST) for _ in found]
    (claim,) = claims.judge("mine", pairs, lambda _: next(differences))
    assert claim.verdict == verdict


IMAGES = {"num_images": (100, 1000), "files": True}


@pytest.mark.parametrize(
    ("resnet", "wrn", "test", "difference", "verdict"),
    [
        ((0.71, 0.723, 0.70), (0.75, 0.765, 0.739), "paired t, 3 seeds", 0.04, HOLDS),
        ((0.70,), (0.75,), "McNemar mid-p, seed 0, 1000 images", 0.05, HOLDS),
        ((0.70,), (0.68, 0.9), "McNemar mid-p, seed 0, 1000 images", -0.02, CONTRADICTED),
        # Differences that agree exactly show no certainty.
        ((0.5,) * 3, (0.5,) * 3, "McNemar mid-p, seed 0, 1000 images", 0, UNDECIDED),
    ],
)
def test_cells_are_paired_by_seed_or_else_by_image(
    resnet, wrn, test, difference, verdict, tmp_path
):
    supervised_seeds(tmp_path, {"convnet": (0.1,) * 4, "resnet18": resnet}, **IMAGES)
    supervised_seeds(tmp_path, {"wrn45_2": wrn}, generator=1, **IMAGES)
    claim = claim_of(build_report(tmp_path), 1)
    comparison = claim.tests.iloc[0]
    assert (comparison["comparison"], comparison["test"]) == ("WRN-45-2 > ResNet18", test)
    assert comparison.difference == pytest.approx(difference, abs=1e-3)
    assert claim.verdict == verdict
    assert comparison.low < difference - 0.002 < difference + 0.002 < comparison.high
    # Pairing tells more than independent shares would.
    assert comparison.high - comparison.low < 2 * 1.96 * np.sqrt(2 * 0.7 * 0.3 / 1000)


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
