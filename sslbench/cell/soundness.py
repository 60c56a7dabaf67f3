"""Whether a finished cell's files are still those that it was finished with."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from sslbench.cell.cell import Cell
from sslbench.cell.folder import RUNNING, cells_folder
from sslbench.cell.identity import cell_id
from sslbench.cell.record import CELL_FILES, DONE, Record, flatten, load_record
from sslbench.config.as_json import settings_from_json, settings_to_json
from sslbench.config.settings import EVALUATE, RESTART, Settings
from sslbench.files.checksums import file_sha256, file_state, read_sealed, write_sealed

CHECKED = ".checked.json"
"""Names the files that were compared: what with, and their states then."""
DAMAGED, STALE = "damaged", "stale"
APART = {"outputs", "resume", "cell", "data.root", "data.url", "data.download"}
APART |= {"cells_per_device", "gpu_sharing"}
"""Settings that say where things are, and what is beside a cell: they change nothing of it."""
WAYS_OUT = {
    DAMAGED: "resume=evaluate evaluates its weights again, resume=restart trains it anew",
    STALE: "resume=restart trains it anew",
}


def manifest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that a finished cell's results and weights are in."""
    paths = {path for pattern in CELL_FILES for path in folder.glob(pattern)}
    return {path.name: file_sha256(path) for path in sorted(paths)}


def drop_damaged(folder: Path, expected: dict[str, str]) -> list[str]:
    """Delete snapshots of which the SHA-256 is not the expected one, and say so of each.

    Those of an earlier training, of which nothing is expected, go without a word.
    """
    found = []
    for path in folder.glob("snapshot-*.npz"):
        if path.name not in expected:
            path.unlink()
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != sha256:
            path.unlink(missing_ok=True)
            found.append(f"{name}: damaged while the cell was stopped; it is left out")
    return found


def flaws_of(folder: Path, record: Record) -> list[str]:
    """Say what is wrong with the files of a finished cell; nothing if all are as they were.

    A file that was not touched since it was last compared is not read again.
    """
    if not record.files:
        return [f"{folder}: its record names no files: of an older version"]
    checked, found, now = _checked(folder), [], {}
    for name, sha256 in record.files.items():
        path = folder / name
        try:
            state = file_state(path)
            known = state is not None and checked.get(name) == [sha256, *state]
            if not known and file_sha256(path) != sha256:
                found.append(f"{path}: damaged, or changed since the cell was done")
            elif state is not None:
                now[name] = [sha256, *state]
        except OSError as error:
            found.append(f"{path}: cannot be read ({error.strerror})")
    with suppress(OSError):  # of a read-only folder: all is compared each time
        if now != checked:
            write_sealed(folder / CHECKED, now)
    return found + _foreign_settings(folder, record)


def is_stale(outputs: str | Path, record: Record) -> bool:
    """Whether the cell that a finished one started from has other weights now."""
    start = record.settings.get("init", {}).get("from")
    then = record.results.get("start_sha256")
    if start is None or then is None or not (cells_folder(outputs) / start).is_dir():
        return False
    with suppress(ValueError):  # a damaged record of the start is its own affair
        parent = load_record(cells_folder(outputs) / start)
        if parent is not None and parent.status == DONE:
            return parent.results.get("weights_sha256") != then
    return False


def state_of(cell: Cell, *, is_mine: bool = False) -> tuple[str, list[str]]:
    """Return how far a cell is, as its folder says it, and what is wrong where it is not sound.

    A finished cell is `done` only if its files are as they were, else `damaged`; `stale` if the
    cell that it started from has been trained anew.

    Args:
        is_mine: Whether this process holds the cell, which is then not `running`.
    """
    if not is_mine and cell.folder.is_held():
        return RUNNING, []
    try:
        record = cell.folder.record()
    except ValueError as error:
        return DAMAGED, [str(error)]
    if record is None or record.status != DONE:
        return cell.folder.state_by(record), []
    if is_stale(cell.settings.outputs, record):
        start = cell.settings.init_from
        return STALE, [f"{cell.id}: {start}, which it started from, was trained anew since"]
    flaws = flaws_of(cell.folder.path, record)
    return (DAMAGED, flaws) if flaws else (DONE, [])


def is_to_do(state: str, resume: str) -> bool:
    """Whether a cell that is not sound is to be evaluated again, or trained anew."""
    return resume == RESTART or (resume == EVALUATE and state == DAMAGED)


def ignored(record: Record, settings: Settings, overrides: list[str]) -> list[str]:
    """Return the settings that were typed and that a finished cell was not trained with.

    They are no part of what the cell is, as those that are would name another one.
    """
    typed = {override.partition("=")[0].lstrip("+~") for override in overrides} - APART
    then, now = flatten(record.settings), flatten(settings_to_json(settings))
    of_tracking = [key for key in now if "tracking" in typed and key.startswith("tracking.")]
    asked = [*typed.intersection(now), *of_tracking]
    return sorted(f"{key}={now[key]}" for key in asked if now[key] != then.get(key))


def _checked(folder: Path) -> dict[str, list[Any]]:
    try:
        return read_sealed(folder / CHECKED)
    except (OSError, ValueError):  # none yet, or a torn one
        return {}


def _foreign_settings(folder: Path, record: Record) -> list[str]:
    with suppress(ValueError):  # a part from outside that is not to be found here
        named = cell_id(settings_from_json(record.settings))
        if named != record.cell:
            return [f"{folder}: the settings in its record are those of {named}"]
    return []
