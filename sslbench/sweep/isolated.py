"""Training one cell of a sweep in a process of its own, and what to record if that is lost."""

import multiprocessing
import os
import sys
import time

from sslbench.cell.cell import Cell, load_cell
from sslbench.cell.folder import Busy
from sslbench.cell.record import DONE, FAILED, Record
from sslbench.cell.soundness import state_of
from sslbench.sweep.isolation import run_isolated
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
    before = cell.folder.readable_record()
    code, tries = None, 0
    while code is None and tries <= RETRIES:
        tries += 1
        code = run_isolated(_cell_process, cell.settings.outputs, cell.id, _failures(before))
        if code is None:
            print(f"{cell.id}: the server of its process was killed; started again", flush=True)
            time.sleep(KILLING_SECONDS)  # so long it may pass for alive
    if code == BUSY_EXIT_CODE:
        return
    after = cell.folder.record()
    if after == before:
        after = _record_death(cell, code, before)
    if after is not None:
        print(summary(after, cell.folder.path), flush=True)


def _failures(record: Record | None) -> int:
    return 0 if record is None else record.failures


def _cell_process(outputs: str, cell_id: str, failures: int) -> None:
    """Train a cell, unless it has failed once more since: the whole life of a child process."""

    def train(cell: Cell) -> Record:
        record = cell.folder.readable_record()
        if record is not None and record.failures > failures:  # in another sweep
            return record
        return train_on_a_free_device(cell)

    cell = load_cell(outputs, cell_id)
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
