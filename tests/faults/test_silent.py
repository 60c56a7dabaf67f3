"""What would be wrong without a word: each of these is said, by whom it may.

By the command, the cell's log or record, the report or `load_encoder`; or the command trains
another cell, where the data or a setting is another. Never the same words and other numbers.
"""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from faults.cells import KINDS, SHARED, Kind, Stage
from faults.command import Fault
from faults.damage import change_bytes, edit_text, empty, flip_in_largest, replace
from faults.disturb import OtherCode, OtherNumbers
from faults.judge import look, new_lines
from faults.rounds import Player
from sslbench.data.layout import FOLDER, IMAGE_BYTES

SUPERVISED, BARLOW_KIND, CHILD, DIGITS = (
    KINDS[name] for name in ("supervised", "barlow", "child", "digits")
)
SEMI_KIND = KINDS["semi"]
DATA = r"fingerprint|checksum|digest|damaged|changed|_X\.bin|_y\.bin|other images"
OVERLAP = "images are among|there more than once"


@dataclass
class Wrong:
    """Something wrong, and how whatever says it may put it."""

    name: str
    words: str
    change: Callable[[Stage], None] = lambda _: None
    cell: Kind = SUPERVISED
    state: str = "done"
    """Of the cell, before anything is wrong."""
    more: tuple[str, ...] = ()
    fault: Fault | None = None
    another_cell: bool = False
    """Whether training another cell says it too."""
    marks: list = field(default_factory=lambda: [pytest.mark.slow])


def data_file(stage: Stage, name: str) -> Path:
    return stage.work / "data" / FOLDER / name


def own(stage: Stage, kind: Kind, name: str = "") -> Path:
    return stage.cells / stage.cell_id(kind) / name


def in_own(name: str, damage: Callable[[Path], object], kind: Kind = SUPERVISED) -> Callable:
    return lambda stage: damage(own(stage, kind, name))


def change_image(stage: Stage) -> None:
    path = data_file(stage, "train_X.bin")
    change_bytes(path, path.stat().st_size // 2, bytes(range(200)))


def change_label(stage: Stage) -> None:
    change_bytes(data_file(stage, "test_y.bin"), 14, b"\x01")


def change_stand_in(stage: Stage) -> None:
    (path,) = (stage.outputs / "cache").rglob("test_X.bin")
    change_bytes(path, path.stat().st_size // 2, bytes(20_000))


def swap_class_names(stage: Stage) -> None:
    path = data_file(stage, "class_names.txt")
    first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([second, first, *rest]) + "\n")


def train_parent_anew(stage: Stage) -> None:
    parent = str(stage.parent_id(CHILD))
    shutil.rmtree(stage.cells / parent)
    shutil.copytree(stage.kept(CHILD, "anew") / "outputs/cells" / parent, stage.cells / parent)


def swap_parent(stage: Stage) -> None:
    """Put the folder of a parent with another seed in the place of the parent's."""
    parent = stage.cells / str(stage.parent_id(CHILD))
    ending = stage.command(*SHARED, *CHILD.parent, "seed=1")
    assert ending.exit_code == 0, ending
    known = {parent.name, stage.cell_id(CHILD)}
    (other,) = (path for path in stage.cells.iterdir() if path.name not in known)
    shutil.rmtree(parent)
    other.rename(parent)


def change_statistics(stage: Stage) -> None:
    (path,) = (stage.outputs / "cache").glob("statistics-*.json")
    edit_text(path, r"0\.[1-9]", "0.0")


def from_other(name: str, state: str, kind: Kind = SUPERVISED) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        folder = stage.kept(kind, state) / "outputs/cells" / stage.cell_id(kind, state=state)
        replace(own(stage, kind, name), folder / name)

    return change


def put_earlier_step(stage: Stage) -> None:
    """Weights of the same cell, but of an earlier step."""
    early = stage.kept(SUPERVISED, "early") / "outputs/cells" / stage.cell_id(SUPERVISED)
    replace(own(stage, SUPERVISED, "best.pt"), early / "last.pt")


def write_other_weights(stage: Stage) -> None:
    """Weights of the same shapes and under the cell's own name, saved as torch saves them."""
    path = own(stage, SUPERVISED, "best.pt")
    state = torch.load(path, weights_only=True)
    for value in state["method"].values():
        value.mul_(1.5) if value.is_floating_point() else None
    torch.save(state, path)


def edit_record(change: Callable[[dict], object]) -> Callable[[Stage], None]:
    def edit(stage: Stage) -> None:
        path = own(stage, SUPERVISED, "record.json")
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    return edit


def nan_in_embeddings(stage: Stage) -> None:
    path = own(stage, SUPERVISED, "embeddings-test.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays["embeddings"][3] = np.nan
    np.savez(path, **arrays)


def rename_other(stage: Stage) -> None:
    shutil.rmtree(own(stage, SUPERVISED))
    state = "other-done"
    folder = stage.kept(SUPERVISED, state) / "outputs/cells"
    shutil.copytree(folder / stage.cell_id(SUPERVISED, state=state), own(stage, SUPERVISED))


def copy_folder(stage: Stage) -> None:
    shutil.copytree(own(stage, SUPERVISED), own(stage, SUPERVISED).with_name("supervised-copy"))


def images(stage: Stage, split: str) -> np.ndarray:
    path = data_file(stage, f"{split}_X.bin")
    return np.fromfile(path, np.uint8).reshape(-1, IMAGE_BYTES)


def make_test_the_train_set(stage: Stage) -> None:
    for name in ("X", "y"):
        shutil.copy(data_file(stage, f"train_{name}.bin"), data_file(stage, f"test_{name}.bin"))


def duplicate_test_images(stage: Stage) -> None:
    found = images(stage, "test")
    found[20:] = found[:10]
    found.tofile(data_file(stage, "test_X.bin"))


def put_into(split: str, source: str) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        found = images(stage, split)
        found[:10] = images(stage, source)[:10]
        found.tofile(data_file(stage, f"{split}_X.bin"))

    return change


def fold_of_ten_images(stage: Stage) -> None:
    line = " ".join(str(position) for position in [*range(10)] * 20)
    data_file(stage, "fold_indices.txt").write_text(f"{line}\n" * 10)


def one_test_class(stage: Stage) -> None:
    data_file(stage, "test_y.bin").write_bytes(b"\x03" * 30)


def blacken(split: str, number: int) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        change_bytes(
            data_file(stage, f"{split}_X.bin"), 2 * IMAGE_BYTES, bytes(number * IMAGE_BYTES)
        )

    return change


CHECKED = r"checksum|digest|damaged|changed|cannot be read|sha"
WRONGS = [
    Wrong("an image changed in the middle of a file", DATA, change_image, another_cell=True),
    Wrong("an image changed, stopped", DATA, change_image, state="stopped", another_cell=True),
    Wrong("a flipped label", DATA, change_label, another_cell=True),
    Wrong("other class order", f"{DATA}|class_names", swap_class_names, another_cell=True),
    Wrong("a damaged stand-in", f"{DATA}|stand-in|cache", change_stand_in, DIGITS),
    Wrong("a damaged stand-in, resumed", f"{DATA}|cache", change_stand_in, DIGITS, "stopped"),
    Wrong("other code, resumed", "code", state="stopped", fault=OtherCode()),
    Wrong(
        *("other threads, resumed", "threads"),
        state="stopped",
        more=("threads=2",),
    ),
    Wrong("the parent trained anew", "parent|anew|init.from", train_parent_anew, CHILD),
    Wrong(
        "the parent trained anew, resumed",
        "parent|anew|init.from",
        train_parent_anew,
        CHILD,
        "stopped",
    ),
    Wrong("swapped parents", "record of another cell", swap_parent, CHILD, "new"),
    Wrong("other snapshots of a done cell", "snapshot", more=("method.snapshot_steps=[2]",)),
    Wrong(
        "tracking of a done cell",
        "tracking|W&B|wandb",
        more=("tracking=wandb", "tracking.mode=offline"),
    ),
    Wrong(
        "Barlow Twins by batch",
        "ratio",
        cell=BARLOW_KIND,
        more=("ratio.of=batch",),
        another_cell=True,
    ),
    Wrong(
        "last.pt flipped",
        rf"last\.pt.*({CHECKED})|{CHECKED}",
        in_own("last.pt", flip_in_largest),
        state="stopped",
    ),
    Wrong("best.pt flipped", r"best\.pt", in_own("best.pt", flip_in_largest), marks=[]),
    Wrong("embeddings flipped", "embeddings-test", in_own("embeddings-test.npz", flip_in_largest)),
    Wrong(
        "a snapshot flipped",
        "snapshot-0+3",
        in_own("snapshot-000003.npz", flip_in_largest, BARLOW_KIND),
        BARLOW_KIND,
    ),
    Wrong(
        "a record's digit",
        f"record.json.*({CHECKED}|agree)|agree",
        in_own("record.json", lambda it: edit_text(it, r'"num_test": \d', '"num_test": 9')),
    ),
    Wrong(
        "a record's setting",
        "settings|checksum",
        in_own("record.json", lambda it: edit_text(it, '"batch_size": 8', '"batch_size": 9')),
    ),
    Wrong(
        "settings of another batch size",
        "settings.json",
        in_own("settings.json", lambda it: edit_text(it, '"batch_size": 8', '"batch_size": 9')),
    ),
    Wrong(
        "a curve's digit",
        "metrics.jsonl",
        in_own("metrics.jsonl", lambda it: edit_text(it, r'"loss": \d', '"loss": 7')),
    ),
    Wrong(
        "a curve's digit, stopped",
        "metrics.jsonl",
        in_own("metrics.jsonl", lambda it: edit_text(it, r'"loss": \d', '"loss": 7')),
        state="stopped",
    ),
    Wrong(
        "emptied curves",
        "metrics.jsonl",
        in_own("metrics.jsonl", lambda it: empty(it, random.Random())),
    ),
    Wrong(
        "emptied curves, stopped",
        "metrics.jsonl",
        in_own("metrics.jsonl", lambda it: empty(it, random.Random())),
        state="stopped",
    ),
    Wrong("changed statistics, resumed", "statistics", change_statistics, state="stopped"),
    Wrong("best.pt of another cell", r"best\.pt", from_other("best.pt", "other-done")),
    Wrong("best.pt of another step", r"best\.pt", put_earlier_step),
    Wrong("weights of another cell", r"best\.pt|weights", write_other_weights),
    Wrong(
        "NaN in a record",
        "record.json",
        edit_record(lambda it: it["results"]["test"].update(loss=float("nan"))),
        marks=[],
    ),
    Wrong(
        "an accuracy that is not the confusion's",
        "confusion|agree|record.json",
        edit_record(lambda it: it["results"]["test"].update(accuracy=0.875)),
    ),
    Wrong("another cell's folder", r"settings of|another cell|belongs|is of", rename_other),
    Wrong("a copied folder", "supervised-copy", copy_folder),
    Wrong("NaN in a file of embeddings", "embeddings-test", nan_in_embeddings),
    Wrong(
        "a last step that is not finite",
        "finite|NaN",
        state="new",
        fault=OtherNumbers(9, float("nan")),
    ),
    Wrong(
        "embeddings that are not finite",
        "finite|NaN",
        cell=SEMI_KIND,
        state="new",
        more=("method.select=last",),
        fault=OtherNumbers(8, float("nan")),
    ),
    Wrong(
        "collapsed weights",
        "collaps|one class|deviation|constant",
        state="new",
        more=("method.select=last",),
        fault=OtherNumbers(9, 0.0),
    ),
    Wrong(
        "collapsed embeddings",
        "collaps|deviation|constant|same",
        cell=BARLOW_KIND,
        state="new",
        fault=OtherNumbers(8, 0.0),
    ),
    Wrong(
        "a test set that is the train set",
        OVERLAP,
        make_test_the_train_set,
        state="new",
        more=("data.val_fraction=0.5",),
    ),
    Wrong("duplicated test images", OVERLAP, duplicate_test_images, state="new"),
    Wrong("test images in the pool", OVERLAP, put_into("unlabeled", "test"), SEMI_KIND, "new"),
    Wrong("test images among the labelled", OVERLAP, put_into("train", "test"), state="new"),
    Wrong(
        "a fold that names images twenty times",
        "fold_indices.txt: line 1 .*each once",
        fold_of_ten_images,
        state="new",
        more=("data.fold=0",),
    ),
    Wrong("a test split of one class", "class", one_test_class, state="new"),
    Wrong(
        "black images to learn from",
        "black|constant|one value|one colou?r|blank",
        blacken("train", 5),
        state="new",
    ),
    Wrong(
        "black test images",
        "black|constant|one value|one colou?r|blank|duplicate",
        blacken("test", 5),
        state="new",
    ),
]


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
