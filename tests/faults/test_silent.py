"""What would be wrong without a word: each of these is said, by whom it may.

By the command, the cell's log or record, the report or `load_encoder`; or the command trains
another cell, where the data or a setting is another. Never the same words and other numbers.
"""

import json
import re
import shutil

import pytest

from faults.cells import SHARED, Stage
from faults.changes import (
    CHILD,
    SUPERVISED,
    own,
)
from faults.damage import flip_in_largest
from faults.judge import look, new_lines
from faults.rounds import Player
from faults.wrongs import (
    WRONGS,
    Wrong,
)


@pytest.mark.parametrize("wrong", [pytest.param(it, id=it.name, marks=it.marks) for it in WRONGS])
def test_it_is_said(wrong: Wrong, player: Player) -> None:
    player.expected(wrong.cell)
    player.stage.enter(wrong.cell, wrong.state)
    wrong.change(player.stage)
    heard = player.hear(wrong.cell, *wrong.more, fault=wrong.fault)
    assert wrong.fault is None or heard.ending.struck, "there was nothing to say"
    assert "Traceback (most recent call last)" not in heard.ending.said
    assert "bug in sslbench" not in heard.ending.said
    assert not heard.found.crashes
    if heard.elsewhere and wrong.another_cell and heard.ending.exit_code == 0:
        return
    assert re.search(wrong.words, heard.said, re.I), (heard.ending, heard.said, heard.different)


def cells_after(stage: Stage, *commands: tuple[str, ...]) -> list[int]:
    """Run commands, all of which must end well; return the numbers of cells after each."""
    numbers = []
    for arguments in commands:
        ending = stage.command(*SHARED, *arguments)
        assert ending.exit_code == 0, ending
        numbers.append(len(list(stage.cells.glob("*/"))))
    return numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["best.pt", "embeddings-test.npz", "embeddings-val.npz"])
def test_damage_of_a_done_cell_is_said_by_all_who_read_it(name: str, player: Player) -> None:
    expected, usual = player.expected(SUPERVISED)
    player.stage.enter(SUPERVISED, "done")
    flip_in_largest(own(player.stage, SUPERVISED, name))
    found = look(player.stage.outputs, player.stage.cell_id(SUPERVISED))
    assert name in new_lines(found.report, expected.report)
    assert name in found.load or name != "best.pt"
    ending = player.stage.run(SUPERVISED)
    assert name in new_lines(ending.said, usual), ending
    assert player.stage.run(SUPERVISED).exit_code in (0, 1)
    again = look(player.stage.outputs, player.stage.cell_id(SUPERVISED))
    assert (again.status, again.record["results"]) == ("done", expected.record["results"])


@pytest.mark.slow
def test_auto_precision_is_the_cell_of_what_it_is_here(player: Player) -> None:
    player.stage.enter(SUPERVISED, "new")
    auto = (*SUPERVISED.arguments, "precision=auto")
    assert cells_after(player.stage, auto) == [1]
    (record,) = player.stage.cells.glob("*/record.json")
    precision = json.loads(record.read_text())["runtime"]["precision"]
    other = {"fp32": "bf16", "bf16": "fp32"}[precision]
    plain = (*SUPERVISED.arguments, f"precision={precision}")
    assert cells_after(player.stage, plain, (*SUPERVISED.arguments, f"precision={other}")) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("in_absolute", [False, True])
def test_a_checkpoint_and_its_absolute_path_are_one_cell(in_absolute: bool, player: Player) -> None:
    stage = player.stage
    stage.enter(CHILD, "new")
    (checkpoint,) = stage.cells.glob("*/last.pt")
    paths = [checkpoint, checkpoint.relative_to(stage.work)]
    commands = [(*CHILD.arguments, f"init.from={path}") for path in paths]
    assert cells_after(stage, *commands[:: 1 if in_absolute else -1]) == [2, 2]


@pytest.mark.slow
def test_a_data_folder_and_its_absolute_path_are_one_cell(player: Player) -> None:
    player.stage.enter(SUPERVISED, "done")
    absolute = (*SUPERVISED.arguments, f"data.root={player.stage.work / 'data'}", "seed=0")
    assert cells_after(player.stage, absolute) == [1]


@pytest.mark.slow
def test_a_digest_that_is_not_the_checkpoints_is_refused(player: Player) -> None:
    stage = player.stage
    stage.enter(CHILD, "new")
    (checkpoint,) = stage.cells.glob("*/last.pt")
    start = f"init.from='{checkpoint}#0123456789abcdef'"
    ending = stage.command(*SHARED, *CHILD.arguments, start)
    assert ending.exit_code == 2, ending
    assert re.search("digest|sha|checksum|0123456789abcdef", ending.said)


@pytest.mark.slow
def test_a_checkpoint_of_a_folder_with_a_hash_sign_is_found(player: Player) -> None:
    stage = player.stage
    stage.enter(CHILD, "new")
    (checkpoint,) = stage.cells.glob("*/last.pt")
    folder = stage.work / "run #1"
    folder.mkdir()
    shutil.copy(checkpoint, folder)
    start = f"init.from='{folder}/last.pt'"
    assert cells_after(stage, (*CHILD.arguments, start)) == [2]
