"""Training one cell in this process, unless it is done: with its lock, its log and its tracker."""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sslbench.cell.cell import Cell
from sslbench.cell.record import DATA_TITLES, DONE, INTERRUPTED, Record
from sslbench.cell.soundness import DAMAGED, STALE, WAYS_OUT, is_to_do, state_of
from sslbench.files.log_file import LogFile
from sslbench.machine.hardware import num_gpus
from sslbench.machine.mps import mps_of_user
from sslbench.sweep.slots import Place
from sslbench.words.wording import fold


def is_done(record: Record | None) -> bool:
    """Whether there is nothing left to do for a cell with such a record."""
    return record is not None and record.status == DONE


def train_unless_done(cell: Cell, train: Callable[[Cell], Record]) -> Record:
    """Train a cell under its lock, unless another process did so before it was free.

    Raises:
        Busy: If another process keeps it.
    """
    with cell.folder.locked(outlast=True):
        state, flaws = state_of(cell, is_mine=True)
        if state == DONE:
            return cell.folder.record()
        if state not in (DAMAGED, STALE):
            return train(cell)
        if not is_to_do(state, cell.settings.resume):
            raise ValueError("\n".join([*flaws, f"  {WAYS_OUT[state]}"]))
        from sslbench.repair import mend

        return mend(cell, flaws, train)


def train_on_a_free_device(cell: Cell, place: Place) -> Record:
    """Train a cell on the CPU, on the device asked for, or on the next GPU that has a place."""
    import torch

    if cell.settings.device != "auto":
        return train_cell(cell)
    if not torch.cuda.is_available():
        # A failed server of MPS lets nobody in for a while: no reason to train on the CPU.
        is_shut = num_gpus() > 0 and mps_of_user() is not None
        return train_cell(cell.run_with(device="cuda") if is_shut else cell)
    count = torch.cuda.device_count()
    names = [str(torch.cuda.get_device_properties(n).uuid) for n in range(count)]
    device = place.take(names, int(cell.settings.cells_per_device))
    return train_cell(cell.run_with(device=f"cuda:{device}"))


def train_cell(cell: Cell, *, show_bar: bool = False) -> Record:
    """Train a cell whose lock is held; its log goes to its folder too."""
    from sslbench.engine.signals import StopRequest
    from sslbench.run import run
    from sslbench.tracking import start_tracker

    handler = LogFile(cell.folder.log_path)
    root = logging.getLogger()
    root.addHandler(handler)
    with closing(handler), StopRequest() as stop:
        contents = cell.request["settings"] | {"changes": cell.request["changes"]}
        tracker = start_tracker(cell.settings, cell.id, cell.folder.path, contents)
        try:
            return run(cell, tracker, stop, show_bar=show_bar)
        finally:  # a second Ctrl-C ends training at once
            tracker.finish(exit_code=1)
            root.removeHandler(handler)


def show_done_cell(cell: Cell, record: Record) -> None:
    """Give a cell that was found done to the tracker that waits for it."""
    from sslbench.tracking import start_tracker

    contents = cell.request["settings"]
    tracker = start_tracker(cell.settings, cell.id, cell.folder.path, contents)
    accuracy = record.results["val"]["accuracy"]
    tracker.log({"step": record.results["steps"], "val/accuracy": accuracy})
    tracker.results(record, cell.folder.path)
    tracker.finish(exit_code=0)


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
