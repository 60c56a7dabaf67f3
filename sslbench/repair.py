"""A finished cell whose files are damaged: what there is, evaluated again or trained anew."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sslbench.build import build
from sslbench.cell import checkpoint
from sslbench.cell.card import CARD, save_card
from sslbench.cell.cell import Cell
from sslbench.cell.curves import CURVES, CurveFile
from sslbench.cell.embeddings import EMBEDDINGS
from sslbench.cell.record import RECORD, Record
from sslbench.cell.resume import begin_anew
from sslbench.cell.soundness import flaws_of, manifest
from sslbench.config.settings import EVALUATE, RESTART
from sslbench.evaluate.cell import evaluate_cell
from sslbench.files.checksums import file_sha256

log = logging.getLogger(__name__)
SET_ASIDE = "record.before.json"
"""The record of a cell that was trained anew."""


def mend(cell: Cell, flaws: list[str], train: Callable[[Cell], Record]) -> Record:
    """Evaluate or train a finished cell that is not sound, as its `resume` says.

    Args:
        flaws: What is wrong with it.

    Raises:
        ValueError: If its weights, which are to be evaluated, are damaged.
    """
    if cell.settings.resume == EVALUATE:
        try:
            record = cell.folder.record()
        except ValueError as error:
            log.warning("%s", error)
            _set_aside(cell, weights_too=False)
            return train(cell)  # which begins after the last step
        assert record is not None, "a finished cell"
        return _evaluate_again(cell, record)
    assert cell.settings.resume == RESTART, "else it is refused before"
    _set_aside(cell, weights_too=True)
    record = train(cell)
    record.notes += [f"{flaw}: the cell was trained anew" for flaw in flaws]
    record.save(cell.folder.path)
    return record


def _set_aside(cell: Cell, *, weights_too: bool) -> None:
    """Make a cell one that was stopped; its record is kept under another name.

    Args:
        weights_too: Drop its weights, so that it is trained anew.
    """
    folder = cell.folder.path
    if (folder / RECORD).exists():
        (folder / RECORD).replace(folder / SET_ASIDE)
    if weights_too:
        begin_anew(folder)


def _evaluate_again(cell: Cell, record: Record) -> Record:
    """Evaluate a finished cell's weights, write the files that follow, and note what is gone.

    Raises:
        ValueError: If its weights are damaged too.
    """
    folder, flaws = cell.folder.path, flaws_of(cell.folder.path, record)
    name = record.results["weights"]
    if not _is_sound(folder, record, name):
        raise ValueError(f"{folder / name}: damaged; resume=restart trains the cell anew")
    training = build(replace(cell.settings, init={"from": None}))
    weights = checkpoint.load_own(folder / name, cell.id)["method"]
    training.method.load_state_dict(weights)
    results = evaluate_cell(training, folder)
    record.notes += [f"{flaw}; the cell was evaluated again" for flaw in flaws]
    changed = [key for key, value in results.items() if record.results.get(key) != value]
    if changed:
        record.notes.append(f"evaluated again, {', '.join(changed)} differ from before")
    record.results |= results
    written = ["settings.json", *(EMBEDDINGS.format(split) for split in ("val", "test"))]
    if _is_sound(folder, record, checkpoint.LAST):
        CurveFile(folder).restore(checkpoint.load_own(folder / checkpoint.LAST, cell.id)["curves"])
        written.append(CURVES)
    cell.save_request()
    renewed = manifest(folder)
    for gone in sorted(record.files.keys() - renewed.keys()):
        record.notes.append(f"{gone} is gone")
    for lost in _still_damaged(record, renewed, written):
        (folder / lost).unlink()
        renewed.pop(lost)
        record.notes.append(f"{lost} was damaged, and is gone")
    record.files = renewed
    save_card(folder / CARD, record)
    record.save(folder)
    return record


def _is_sound(folder: Path, record: Record, name: str) -> bool:
    path = folder / name
    return path.is_file() and file_sha256(path) == record.files.get(name)


def _still_damaged(record: Record, renewed: dict[str, str], written: list[str]) -> list[str]:
    """Return the files that are others than those recorded, and were not written again."""
    known = record.files
    return [name for name in renewed if known.get(name) != renewed[name] and name not in written]
