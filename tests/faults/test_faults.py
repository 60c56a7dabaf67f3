"""Fault rounds: none may lose a result, be wrong without a word or end in a traceback."""

import re

import numpy as np
import pytest

from faults.command import Ending
from faults.judge import Sight, differences, new_notes
from faults.kinds import TABLE, draw
from faults.rounds import (
    DEFECTS,
    HANG,
    LOST,
    SAID,
    SILENT,
    UNDISTURBED,
    Evidence,
    Player,
    classify,
)

FAST = (5, 10)
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


def evidence(seed=5, code=0, different=(), said_by=(), told="", status="done", elsewhere=()):
    runs = [Ending(code, told)]
    return Evidence(
        draw(seed),
        runs,
        Sight(status=status),
        list(different),
        list(said_by),
        told,
        list(elsewhere),
    )


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, UNDISTURBED),
        ({"different": ["best.pt"]}, SILENT),
        ({"different": ["best.pt"], "said_by": ["report"]}, SAID),
        ({"different": ["record.json"], "elsewhere": ["another"]}, SAID),
        ({"different": ["record.json"], "status": None, "code": 1}, LOST),
        ({"seed": 34, "different": ["last.pt"], "status": "failed", "code": 1}, LOST),
        (
            {
                "seed": 34,
                "different": ["last.pt"],
                "status": "failed",
                "code": 1,
                "said_by": ["command"],
                "told": "last.pt: damaged; delete it",
            },
            SAID,
        ),
        ({"code": None}, HANG),
        ({"different": ["x"], "status": None, "seed": 34}, SILENT),
    ],
)
def test_what_is_a_defect(more, outcome):
    assert (draw(5).moment, draw(34).moment) == ("done", "stopped")
    assert classify(evidence(**more))[0] == outcome


def test_new_notes_are_those_of_places_where_nothing_was_said() -> None:
    known = {"a": 1, "warnings": [], "error": None, "digest": "x", "n": 0}
    said = known | {
        "digest": "y",
        "n": 1,
        "warnings": ["best.pt was damaged"],
        "error": {"type": "E"},
    }
    assert new_notes(said, known) == [".warnings.0: best.pt was damaged", ".error.type: E"]


def test_differences_are_bit_by_bit_and_name_their_place():
    expected = Sight({"last.pt": {"w": np.zeros(2)}, "record.json": {"results": {"a": [1, 0.5]}}})
    assert differences(expected, expected) == []
    other = {"last.pt": {"w": -np.zeros(2)}, "record.json": {"results": {"a": [1, 0.25]}}}
    assert differences(Sight(other), expected) == ["last.pt.w", "record.json.results.a.1"]
    assert differences(Sight(load="refused"), expected) == [
        "last.pt missing",
        "record.json missing",
        "load_encoder",
    ]
