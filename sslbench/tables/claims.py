"""The paper's seven claims and what becomes of them: verdicts, and sentences that say why.

A claim is a list of comparisons A > B, tested two-sided at 5 %. `RULES` says what follows.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from sslbench.tables.groups import MIN_SEEDS
from sslbench.tables.sentences import difference_in_words, listed, seeds_in_words

RULES = (
    "Holds: every difference is significantly as claimed. Contradicted: one is significantly the "
    "other way. Leans for, leans against: the same where a difference that decides has fewer than "
    "three seeds on a side. Undecided: else. Claim 7 holds if every improvement's upper 95 % bound "
    "is below one point. Significant: two-sided at 5 %, corrected by Holm's method over all "
    "comparisons of the seven claims on one group of cells, and over nothing else: intervals are "
    "of one difference each."
)
SIGNIFICANCE = 0.05
MARGIN = 0.01
"""An improvement surely below one point, and not surely above zero, counts as none (claim 7)."""
PAPER_GROUP = "the paper's own numbers"
HOLDS, CONTRADICTED, UNDECIDED, NO_DATA = "holds", "contradicted", "undecided", "no data"
LEANS_FOR, LEANS_AGAINST = "leans for", "leans against"
VERDICTS = (HOLDS, CONTRADICTED, LEANS_FOR, LEANS_AGAINST, UNDECIDED, NO_DATA)
NO_IMPROVEMENT = 7
CLAIMS = {
    1: "Supervised: WRN-45-2 > ResNet18 > ConvNet",
    2: "Self-supervised: WRN-45-2 > ResNet18 > ConvNet",
    3: "Semi-supervised: WRN-45-2 > ResNet18 > ConvNet",
    4: "Semi-supervised beats supervised for WRN-45-2",
    5: "Semi-supervised beats self-supervised for every model",
    6: "More unlabelled images help: 1:1 < 1:5 < 1:20",
    7: "Starting from self-supervised weights yields no improvement",
}


class Effect(NamedTuple):
    """The comparison that decides a claim; differences are fractions."""

    name: str
    """As in `WRN-45-2 minus ResNet18`."""
    difference: float
    low: float
    high: float
    metric: str
    interval_of: str
    """`images`, or `seeds and images`."""


@dataclass(frozen=True)
class Claim:
    """One claim within one group of cells, or on the paper's own numbers."""

    number: int
    group: str
    """`PAPER_GROUP`, or the title of a group of cells."""
    tests: pd.DataFrame
    """By comparison: `Difference` in fractions, `num_seeds`, `p_corrected`, `sign` (0: none)."""
    num_missing: int
    """Comparisons without data."""
    on_paper_settings: bool = False
    """Whether the cells may be set beside the paper's."""
    collapsed: list[str] = field(default_factory=list)
    """Titles of its cells that are no better than chance."""
    without_collapsed: "Claim | None" = None
    """The same without them; None if there are none."""

    @property
    def text(self) -> str:
        return CLAIMS[self.number]

    @cached_property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if self.tests.empty:
            return NO_DATA
        is_for, is_against = self._sides()
        is_sure = self.tests["num_seeds"] >= MIN_SEEDS
        if is_against.any():
            return CONTRADICTED if (is_against & is_sure).any() else LEANS_AGAINST
        if not is_for.all() or self.num_missing:
            return UNDECIDED
        return HOLDS if is_sure.all() else LEANS_FOR

    @property
    def hangs_on_collapse(self) -> bool:
        """Whether the verdict would be another one without the collapsed cells."""
        other = self.without_collapsed
        return other is not None and other.verdict != self.verdict

    def _sides(self) -> tuple[pd.Series, pd.Series]:
        """Return which comparisons speak for the claim, and which against it."""
        if self.number == NO_IMPROVEMENT:  # no significant difference is no sign of none
            return self.tests["high"] < MARGIN, self.tests["sign"] > 0
        return self.tests["sign"] > 0, self.tests["sign"] < 0

    @cached_property
    def _deciding(self) -> pd.Series | None:
        """Return the comparison that decides: the surest against it, else the least for it."""
        if self.tests.empty:
            return None
        is_for, is_against = self._sides()
        if is_against.any():
            is_sure = self.tests["num_seeds"] >= MIN_SEEDS
            against = self.tests[is_against & (is_sure | (self.verdict != CONTRADICTED))]
            return against.nsmallest(1, "p").iloc[0]
        open_ones = self.tests[~is_for] if not is_for.all() else self.tests
        if self.number == NO_IMPROVEMENT:
            return open_ones.nlargest(1, "high").iloc[0]
        return open_ones.nsmallest(1, "difference").iloc[0]

    @property
    def effect(self) -> Effect | None:
        """The deciding comparison in numbers; None without data."""
        found = self._deciding
        if found is None:
            return None
        values = {key: found[key] for key in Effect._fields if key != "name"}
        return Effect(found["comparison"].replace(" > ", " minus "), **values)

    @cached_property
    def sentence(self) -> str:
        """The verdict and what decides it, in words."""
        number = len(self.tests) + self.num_missing
        if self._deciding is None:
            return "No data: no comparison has cells on both sides."
        decides = difference_in_words(*self._deciding[["comparison", *Effect._fields[1:]]])
        is_for, is_against = map(sum, self._sides())
        if is_against:
            others = is_against - 1
            verb = "difference is" if others == 1 else "differences are"
            words = f"{decides}{f'; {others} more {verb} against it' if others else ''}"
        elif is_for == len(self.tests):
            every = "both" if is_for == 2 else f"all {is_for}"
            many = f"{every} differences are as claimed, the closest: " if is_for > 1 else ""
            words = f"{many}{decides}"
        else:
            be = "is" if is_for == 1 else "are"
            so_far = f"{is_for} of {len(self.tests)} differences {be} as claimed; " * bool(is_for)
            is_apart = self._deciding["low"] > 0 or self._deciding["high"] < 0
            words = f"{so_far}{decides}, which may be chance"
            words += " among so many comparisons" * bool(is_apart)
        if self.num_missing:
            lack = "lacks" if self.num_missing == 1 else "lack"
            words += f"; {self.num_missing} of {number} comparisons {lack} cells"
        seeds = seeds_in_words(list(self.tests["num_seeds"]))
        text = f"{self.verdict.capitalize()}, on {seeds}: {words}."
        if self.without_collapsed is not None:
            without = self.without_collapsed.verdict
            text += f" Without the collapsed {listed(self.collapsed)}: {without}."
        return text


def failed_claims(claims: list[Claim], numbers: list[int]) -> list[str]:
    """Name the claims that do not hold on our cells, those in the paper's settings if any are.

    What holds only with collapsed cells among them does not.
    """
    ours = [claim for claim in claims if claim.group != PAPER_GROUP]
    ours = [claim for claim in ours if claim.on_paper_settings] or ours
    missing = [] if ours else [f"claim {number}: {NO_DATA}" for number in numbers]
    return missing + [
        f"claim {each.number} on {each.group}: {each.verdict}{suffix}"
        for claim in ours
        if claim.number in numbers
        for each, suffix in ((claim, ""), (claim.without_collapsed, " without collapsed cells"))
        if each is not None and each.verdict != HOLDS
    ]


def overall(claims: list[Claim]) -> str:
    """Return the verdict on all claims of one group in one line.

    As in `UNDECIDED on one seed: leans for 1, against 3, open 3 of 7`; a claim that hangs on cells
    of chance is open.
    """
    seeds = [number for claim in claims for number in claim.tests["num_seeds"]]
    if not seeds:
        return "NO DATA: no comparison of the paper's has cells on both sides"
    verdicts = [UNDECIDED if claim.hangs_on_collapse else claim.verdict for claim in claims]
    number = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    head = "UNDECIDED"
    if number[CONTRADICTED]:
        head = "CONTRADICTED" if number[HOLDS] + number[LEANS_FOR] == 0 else "HOLDS ONLY IN PART"
    elif number[HOLDS]:
        head = "HOLDS" if number[HOLDS] == len(claims) else "HOLDS IN PART"
    words = {"holds for": number[HOLDS], "contradicted": number[CONTRADICTED]}
    words |= {"leans for": number[LEANS_FOR]}
    both = number[LEANS_FOR] and number[LEANS_AGAINST]
    words |= {"against" if both else "leans against": number[LEANS_AGAINST]}
    words |= {"open": number[UNDECIDED] + number[NO_DATA]}
    counts = ", ".join(f"{word} {count}" for word, count in words.items() if count)
    changed = [f"claim {claim.number}" for claim in claims if claim.hangs_on_collapse]
    text = f"{head} on {seeds_in_words(seeds)}: {counts} of {len(claims)}"
    if changed:
        hang = "hang" if len(changed) > 1 else "hangs"
        text += f" ({listed(changed)} {hang} on collapsed cells)"
    return text


def format_p(p: float) -> str:
    """Write `= 0.043` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
