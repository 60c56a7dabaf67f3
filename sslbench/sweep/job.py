"""What one Hydra job does: find its cell done, or train it, here or in a process of its own."""

import dataclasses
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from sslbench.cell.cell import Cell, load_cell
from sslbench.cell.changes import find_changes
from sslbench.cell.folder import Busy
from sslbench.cell.record import DATA_TITLES, DONE, FAILED, INTERRUPTED, Record
from sslbench.cell.soundness import DAMAGED, STALE, WAYS_OUT, ignored, is_to_do, state_of
from sslbench.cell.versions import is_of_other_code
from sslbench.config.compose import Config, JobContext, job_context, refuse_chdir, to_settings
from sslbench.config.settings import Settings
from sslbench.engine.room import require_room
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.files.log_file import LogFile
from sslbench.machine.processes import available_cores
from sslbench.sweep.isolation import run_isolated
from sslbench.sweep.preflight import Preflight
from sslbench.words.trouble import name_file, report_failure
from sslbench.words.wording import fold

log = logging.getLogger(__name__)
RETRIES = 2
"""Of a cell whose process was lost through no fault of its own."""
BUSY_EXIT_CODE = os.EX_TEMPFAIL
KILLING_SECONDS = 0.5
"""What is being killed has ended then. joblib kills what a worker has started before the worker:
that is no death of the cell's own."""
WITH_CELL = ("cell", "outputs", "resume")
"""Overrides that `cell=…` goes with: its settings are those it was begun with."""


def job(config: Config) -> None:
    """Train the cell that `config` describes, unless it is done.

    In a sweep whatever goes wrong with it is its own affair: its record says it, or the log.

    Raises:
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where the cell failed, 128 + n where signal n stopped it.
    """
    context = job_context()
    try:
        settings = to_settings(config, context.choices)
        if context.in_sweep:
            _train_isolated(load_cell(settings.outputs, str(settings.cell)))
        else:
            refuse_chdir(context.chdir)
            _refuse_sweep_without_multirun(context)
            _train_here(settings, context)
    except ValueError as error:
        if not context.in_sweep:
            raise UsageError(error) from None
        log.error("sslbench: %s", error)
    except Exception as error:  # Hydra would leave with the code of bad usage
        name_file(error, Path(str(config.outputs)))
        report_failure(error)
        if not context.in_sweep:
            raise CellStopped(1) from None


def _refuse_sweep_without_multirun(context: JobContext) -> None:
    if context.is_grid:
        experiment = context.choices["experiment"]
        raise ValueError(
            f"experiment={experiment} is a sweep of cells: add -m, as in\n"
            f"    python -m sslbench.train -m experiment={experiment}"
        )
    if context.sweep_options:
        raise ValueError(f"{context.sweep_options[0]} is for sweeps: add -m as the first argument")


def _choose_cell(settings: Settings, context: JobContext, preflight: Preflight) -> Cell:
    """Return the cell of settings, or the one that was begun under the id in `settings.cell`."""
    if settings.cell is None:
        settings = preflight.make_concrete(settings)
        cell = Cell(settings, partial(find_changes, settings, context.choices))
        # Others would not lead to the same bits.
        threads = settings.threads or cell.folder.begun_threads() or available_cores()
        settings = dataclasses.replace(settings, threads=threads)
        return Cell(settings, partial(find_changes, settings, context.choices))
    others = [it for it in context.overrides if it.partition("=")[0] not in WITH_CELL]
    if others:
        raise ValueError(
            f"cell={settings.cell} {others[0]}: a cell goes on with the settings that it was begun "
            f"with; leave {others[0]} out, or leave cell=… out for another cell"
        )
    found = load_cell(settings.outputs, settings.cell)
    asked = dataclasses.replace(found.settings, resume=settings.resume)
    return Cell(asked, lambda: found.request["changes"])


def _train_here(settings: Settings, context: JobContext) -> None:
    preflight = Preflight()
    cell = _choose_cell(settings, context, preflight)
    state, flaws = state_of(cell)
    if state == DONE:
        record = cell.folder.record()
        print("\n".join(_told_of_done(record, cell, context)))
    elif state in (DAMAGED, STALE) and not is_to_do(state, cell.settings.resume):
        print("\n".join(["sslbench: " + flaws[0], *flaws[1:], f"  {WAYS_OUT}"]), file=sys.stderr)
        raise CellStopped(1)
    else:
        preflight.check(cell.settings)
        require_room(cell.settings)
        try:
            record = train_unless_done(cell, partial(train_cell, show_bar=sys.stderr.isatty()))
        except Busy:
            print(f"sslbench: another process is training {cell.folder.path}", file=sys.stderr)
            raise CellStopped(1) from None
    print(summary(record, cell.folder.path))
    if record.status == INTERRUPTED:
        raise CellStopped(128 + record.error["signal"])
    if record.status != DONE:
        raise CellStopped(1)


def _told_of_done(record: Record, cell: Cell, context: JobContext) -> list[str]:
    lines = ["done before: found, not trained again"]
    if is_of_other_code(record):
        path = cell.folder.path
        lines.append(f"it was trained by other code than this: delete {path} to train it anew")
    if names := ignored(record, cell.settings, context.overrides):
        lines.append(f"not as it was trained, and ignored: {', '.join(names)}")
    return lines


def train_unless_done(cell: Cell, train: Callable[[Cell], Record]) -> Record:
    """Train a cell under its lock, unless another process did so before it was free.

    Raises:
        Busy: If another process keeps it.
    """
    with cell.folder.locked():
        state, flaws = state_of(cell, is_mine=True)
        if state == DONE:
            return cell.folder.record()
        if state not in (DAMAGED, STALE):
            return train(cell)
        if not is_to_do(state, cell.settings.resume):
            raise ValueError("\n".join([*flaws, f"  {WAYS_OUT}"]))
        from sslbench.repair import mend

        return mend(cell, train)


def is_done(record: Record | None) -> bool:
    """Whether there is nothing left to do for a cell with such a record."""
    return record is not None and record.status == DONE


def _train_isolated(cell: Cell) -> None:
    """Train a cell of a sweep in a process of its own; its record tells how it ended.

    There is a new one unless another sweep has the cell.
    """
    if state_of(cell)[0] == DONE:  # another sweep was faster
        return
    before = _readable_record(cell)
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


def _readable_record(cell: Cell) -> Record | None:
    try:
        return cell.folder.record()
    except ValueError:  # a damaged one, of a cell that is to be mended
        return None


def _failures(record: Record | None) -> int:
    return 0 if record is None else record.failures


def _cell_process(outputs: str, cell_id: str, failures: int) -> None:
    """Train a cell, unless it has failed once more since: the whole life of a child process."""

    def train(cell: Cell) -> Record:
        record = _readable_record(cell)
        if record is not None and record.failures > failures:  # in another sweep
            return record
        return _train_on_a_free_device(cell)

    cell = load_cell(outputs, cell_id)
    try:
        record = train_unless_done(cell, train)
    except Busy:
        sys.exit(BUSY_EXIT_CODE)
    except Exception as error:
        report_failure(error)
        sys.exit(1)
    sys.exit(0 if is_done(record) else 1)


def _train_on_a_free_device(cell: Cell) -> Record:
    """Train a cell on the CPU, on the device asked for, or on the next GPU that has a place."""
    import torch

    from sslbench.sweep.slots import device_slot

    settings = cell.settings
    if settings.device != "auto" or not torch.cuda.is_available():
        return train_cell(cell)
    count = torch.cuda.device_count()
    names = [str(torch.cuda.get_device_properties(n).uuid) for n in range(count)]
    with device_slot(names, settings.cells_per_device) as device:
        settings = dataclasses.replace(settings, device=f"cuda:{device}")
        return train_cell(Cell(settings, lambda: cell.request["changes"]))


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


def train_cell(cell: Cell, *, show_bar: bool = False) -> Record:
    """Train a cell whose lock is held; its log goes to its folder too."""
    from sslbench.engine.signals import StopRequest
    from sslbench.run import run
    from sslbench.tracking import start_tracker

    handler = LogFile(cell.folder.log_path)
    root = logging.getLogger()
    root.addHandler(handler)
    with closing(handler), StopRequest() as stop:
        contents = cell.request["settings"]
        tracker = start_tracker(cell.settings, cell.id, cell.folder.path, contents)
        try:
            return run(cell, tracker, stop, show_bar=show_bar)
        finally:  # a second Ctrl-C ends training at once
            tracker.finish(exit_code=1)
            root.removeHandler(handler)


def summary(record: Record, folder: Path) -> str:
    """Say in a few lines how a cell ended, and where its files are."""
    lines = [f"{record.cell}: {record.status}"]
    if record.status == DONE:
        splits = ("train", "val", "test")
        parts = [f"{split} {record.results[split]['accuracy']:.2%}" for split in splits]
        lines.append(f"  accuracy: {', '.join(parts)}, {record.runtime['total_seconds']:.0f} s")
        lines += [f"  note: {note}" for note in record.notes]
        if record.data["name"] == "digits":
            lines.append(f"  data: {DATA_TITLES['digits']}; not comparable with STL-10")
    elif record.error is not None:
        lines.append(fold(f"  {record.error['type']}: {record.error['message']}"))
        if record.status == INTERRUPTED:
            lines.append("  the same command goes on from there")
        else:
            lines.append(f"  log: {folder / 'train.log'}")
    lines.append(f"  files: {folder}")
    return "\n".join(lines)
