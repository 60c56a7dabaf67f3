"""Ways to put something wrong into a cell, its data or its start, of which no file is torn."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from faults.cells import KINDS, SHARED, Kind, Stage
from faults.damage import change_bytes, edit_text, replace
from sslbench.data.layout import FOLDER, IMAGE_BYTES

SUPERVISED, BARLOW_KIND, CHILD, DIGITS = (
    KINDS[name] for name in ("supervised", "barlow", "child", "digits")
)
SEMI_KIND = KINDS["semi"]


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
