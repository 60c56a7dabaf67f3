"""What would be wrong without a word, and how whoever says it may put it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from faults.cells import Kind, Stage
from faults.changes import (
    BARLOW_KIND,
    CHILD,
    DIGITS,
    SEMI_KIND,
    SUPERVISED,
    blacken,
    change_image,
    change_label,
    change_stand_in,
    change_statistics,
    copy_folder,
    duplicate_test_images,
    edit_record,
    fold_of_ten_images,
    from_other,
    in_own,
    make_test_the_train_set,
    nan_in_embeddings,
    one_test_class,
    put_earlier_step,
    put_into,
    rename_other,
    swap_class_names,
    swap_parent,
    train_parent_anew,
    write_other_weights,
)
from faults.command import Fault
from faults.damage import edit_text, empty, flip_in_largest
from faults.disturb import OtherCode, OtherNumbers

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
