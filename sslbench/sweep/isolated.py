"""Training one cell of a sweep in a process of its own, and what to record if that is lost."""

import multiprocessing
import os
import sys
import time

from sslbench.cell.cell import Cell, load_cell
from sslbench.cell.folder import Busy
from sslbench.cell.record import BLOCKED, DONE, FAILED, Record
from sslbench.cell.soundness import state_of
from sslbench.engine.room import NoRoom
from sslbench.sweep.isolation import run_isolated
from sslbench.sweep.parent import block
from sslbench.sweep.slots import Place
from sslbench.sweep.training import is_done, summary, train_on_a_free_device, train_unless_done
from sslbench.words.trouble import report_failure

RETRIES = 2
"""Of a cell whose process was lost through no fault of its own."""
BUSY_EXIT_CODE = os.EX_TEMPFAIL
KILLING_SECONDS = 0.5
"""What is being killed has ended then. joblib kills what a worker has started before the worker:
that is no death of the cell's own."""


def train_isolated(cell: Cell) -> None:
    """Train a cell of a sweep in a process of its own; its record tells how it ended.

    There is a new one unless another sweep has the cell.
    """
    if state_of(cell)[0] == DONE:  # another sweep was faster
        return
    if block(cell):
        print(f"{cell.id}: {BLOCKED}, {cell.settings.init_from} did not finish", flush=True)
        return
    record, had_room = _train_apart(cell)
    while not had_room:  # which is so less often than there are places
        record, had_room = _train_apart(cell)
    if record is not None:
        print(summary(record, cell.folder.path), flush=True)


def _train_apart(cell: Cell) -> tuple[Record | None, bool]:
    """Train a cell in a new process.

    Returns:
        Its record, None if another sweep has it; and whether there was room for it on a GPU beside
        others, where fewer will be from now on if there was not.
    """
    before = cell.folder.readable_record()
    for _ in range(1 + RETRIES):
        with Place() as place:
            settings = cell.settings
            arguments = (settings.outputs, cell.id, settings.device, _failures(before), place)
            code = run_isolated(_cell_process, *arguments)
            after = cell.folder.record() if code != BUSY_EXIT_CODE else None
            if after != before and _is_out_of_memory(after):
                left = place.give_up(int(settings.cells_per_device))
                if left is not None:
                    print(
                        f"{cell.id}: out of memory on a GPU that other cells share; from now on it "
                        f"takes at most {left} at a time, and this one is tried again",
                        flush=True,
                    )
                    return after, False
        if code is not None:
            break
        print(f"{cell.id}: the server of its process was killed; started again", flush=True)
        time.sleep(KILLING_SECONDS)  # so long it may pass for alive
    if code != BUSY_EXIT_CODE and after == before:
        after = _record_death(cell, code, before)
    return after, True


def _is_out_of_memory(record: Record | None) -> bool:
    error = record.error if record is not None else None
    return error is not None and error["type"] in ("OutOfMemory", NoRoom.__name__)


def _failures(record: Record | None) -> int:
    return 0 if record is None else record.failures


def _cell_process(outputs: str, cell_id: str, device: str, failures: int, place: Place) -> None:
    """Train a cell, unless it has failed once more since: the whole life of a child process.

    What an earlier try has left in the cell's folder names the device that was free then.
    """

    def train(cell: Cell) -> Record:
        record = cell.folder.readable_record()
        if record is not None and record.failures > failures:  # in another sweep
            return record
        return train_on_a_free_device(cell, place)

    cell = load_cell(outputs, cell_id).run_with(device=device)
    try:
        record = train_unless_done(cell, train)
    except Busy:
        sys.exit(BUSY_EXIT_CODE)
    except Exception as error:
        report_failure(error)
        sys.exit(1)
    sys.exit(0 if is_done(record) else 1)


def _record_death(cell: Cell, code: int | None, before: Record | None) -> Record | None:
    """Record that a cell's process ended without a word; None if another one has taken over.

    What an earlier try took counts on: a later one adds to it.
    """
    if multiprocessing.parent_process() is not None:
        time.sleep(KILLING_SECONDS)
    cause = "its server's death"
    if code is not None:
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = "; the system may have been out of memory" if code == -9 else ""
    try:
        with cell.folder.locked():
            found = cell.folder.record()
            if found != before:
                return found
            if is_done(found):  # it was to be evaluated again: its results stay
                print(f"{cell.id}: not mended, the cell's process ended by {cause}{hint}")
                return found
            record = cell.record(
                FAILED,
                failures=1 + _failures(before),
                runtime=before.runtime if before else {},
                error={
                    "type": "ProcessDied",
                    "message": f"the cell's process ended by {cause}{hint}",
                },
            )
            record.save(cell.folder.path)
    except Busy:
        return None
    return record
