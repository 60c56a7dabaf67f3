"""What one Hydra job does: find its cell done, or have it trained, here or in a process apart."""

import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from sslbench.cell.cell import Cell, load_cell
from sslbench.cell.changes import find_changes
from sslbench.cell.folder import Busy
from sslbench.cell.record import DONE, INTERRUPTED, Record
from sslbench.cell.soundness import DAMAGED, STALE, WAYS_OUT, ignored, is_to_do, state_of
from sslbench.cell.versions import is_of_other_code
from sslbench.config.compose import Config, JobContext, job_context, refuse_chdir, to_settings
from sslbench.config.settings import AUTO, Settings
from sslbench.engine.room import require_room
from sslbench.exit_codes import CellStopped, NotDone, UsageError
from sslbench.machine.threads import allowed_threads
from sslbench.sweep.isolated import train_isolated
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.training import (
    is_done,
    show_done_cell,
    summary,
    train_cell,
    train_unless_done,
)
from sslbench.words.trouble import name_file, report_failure

log = logging.getLogger(__name__)
BY_SUBMITIT = "SUBMITIT_EXECUTOR"
"""A variable that submitit's jobs have; a sweep that is started in one is none of them."""
WITH_CELL = ("cell", "outputs", "resume", "data.root")
"""Overrides that `cell=…` goes with: its settings are those it was begun with."""


def job(config: Config) -> float | None:
    """Train the cell that `config` describes, unless it is done.

    In a sweep whatever goes wrong with it is its own affair: its record says it, or the log.

    Returns:
        Its validation accuracy, which a sweeper that searches maximises; None if it is not done and
        our own sweeper, which sees that by itself, has planned it.

    Raises:
        NotDone: If it is not done and another sweeper asks for it.
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where the cell failed, 128 + n where signal n stopped it.
    """
    try:
        accuracy = _job(config)
    except CellStopped as stopped:
        if BY_SUBMITIT in os.environ and stopped.code > 128:
            # All is saved. What submitit does at this signal, such as to queue the job again, it
            # does now; it may leave by an error of its own, which is for its caller.
            signal.raise_signal(stopped.code - 128)
        raise
    if accuracy is None and config.cell is None:
        raise NotDone("a cell is not done; what became of it is said above")
    return accuracy


def _job(config: Config) -> float | None:
    context = job_context()
    try:
        settings = to_settings(config, context.choices)
        if context.in_sweep:
            return _train_in_sweep(settings, context)
        refuse_chdir(context.chdir)
        _refuse_sweep_without_multirun(context)
        return _train_here(settings, context)
    except ValueError as error:
        if not context.in_sweep:
            raise UsageError(error) from None
        log.error("sslbench: %s", error)
    except Exception as error:  # Hydra would leave with the code of bad usage
        name_file(error, Path(str(config.outputs)))
        report_failure(error)
        if not context.in_sweep:
            raise CellStopped(1) from None
    return None


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
        return cell.with_threads(allowed_threads())
    others = [it for it in context.overrides if it.partition("=")[0] not in WITH_CELL]
    if others:
        raise ValueError(
            f"cell={settings.cell} {others[0]}: a cell goes on with the settings that it was begun "
            f"with; leave {others[0]} out, or leave cell=… out for another cell"
        )
    cell = load_cell(settings.outputs, settings.cell).run_with(resume=settings.resume)
    if any(it.startswith("data.root=") for it in context.overrides):
        return cell.run_with(data=replace(cell.settings.data, root=settings.data.root))
    return cell


def _train_in_sweep(settings: Settings, context: JobContext) -> float | None:
    """Train a cell that our sweeper has planned, or the one that another one asks for."""
    if settings.cell is not None:
        cell = load_cell(settings.outputs, settings.cell)
    else:
        preflight = Preflight()
        cell = _choose_cell(settings, context, preflight)
        if cell.settings.cells_per_device == AUTO:
            cell = cell.run_with(cells_per_device=1)
        preflight.check(cell.settings)
        with suppress(Busy), cell.folder.locked():  # who has it has written it
            if state_of(cell, is_mine=True)[0] != DONE:
                cell.save_request()
    train_isolated(cell)
    record = cell.folder.readable_record()
    return record.results["val"]["accuracy"] if is_done(record) else None


def _train_here(settings: Settings, context: JobContext) -> float:
    preflight = Preflight()
    cell = _choose_cell(settings, context, preflight)
    state, flaws = state_of(cell)
    if state == DONE:
        record = cell.folder.record()
        print("\n".join(_told_of_done(record, cell, context)))
        if "WANDB_SWEEP_ID" in os.environ:  # `wandb agent` waits for a run
            show_done_cell(cell, record)
    elif state in (DAMAGED, STALE) and not is_to_do(state, cell.settings.resume):
        print(
            "\n".join(["sslbench: " + flaws[0], *flaws[1:], f"  {WAYS_OUT[state]}"]),
            file=sys.stderr,
        )
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
    return record.results["val"]["accuracy"]


def _told_of_done(record: Record, cell: Cell, context: JobContext) -> list[str]:
    lines = ["done before: found, not trained again"]
    if is_of_other_code(record):
        path = cell.folder.path
        lines.append(f"it was trained by other code than this: delete {path} to train it anew")
    if names := ignored(record, cell.settings, context.overrides):
        lines.append(f"not as it was trained, and ignored: {', '.join(names)}")
    return lines
