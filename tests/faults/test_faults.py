"""Fault rounds: none may lose a result, be wrong without a word or end in a traceback."""

import re

import pytest

from faults.judge import new_notes
from faults.kinds import TABLE, draw
from faults.rounds import DEFECTS, Player

FAST = (5, 10, 38)
"""Seeds of rounds of one cell that need no process of their own."""
ROUNDS = 100


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=[pytest.mark.slow] * (n not in FAST)) for n in range(ROUNDS)]
)
def test_a_fault_is_survived_or_said(seed: int, player: Player) -> None:
    outcome = player.play(seed)
    assert outcome.outcome not in DEFECTS, outcome


def test_a_seed_is_a_round_and_all_kinds_are_drawn() -> None:
    rounds = [draw(seed) for seed in range(1000)]
    assert [str(draw(seed)) for seed in range(1000)] == [str(it) for it in rounds]
    assert len({re.sub(":.*", "", it.kind) for it in rounds}) > len(TABLE)


def test_new_notes_are_those_of_places_where_nothing_was_said() -> None:
    known = {"a": 1, "warnings": [], "error": None, "digest": "x"}
    said = known | {"digest": "y", "warnings": ["best.pt was damaged"], "error": {"type": "E"}}
    assert new_notes(said, known) == [".warnings.0: best.pt was damaged", ".error.type: E"]
