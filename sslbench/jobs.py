"""What one Hydra job does: find its cell done, or train it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cells import Busy, CellFolder
from sslbench.config.compose import JobContext, job_context, to_settings
from sslbench.config.identity import cell_id
from sslbench.config.settings import Settings
from sslbench.preflight import check, make_concrete
from sslbench.record import DONE, INTERRUPTED, Record, settings_to_dict

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


class UsageError(SystemExit):
    """Leave with exit code 2 and a message, without a traceback."""

    def __init__(self, message: object) -> None:
        print(f"sslbench: {message}", file=sys.stderr)
        super().__init__(2)


class CellStopped(SystemExit):
    """Leave with the exit code of a cell that did not finish."""


def job(config: "DictConfig") -> None:
    """Train the cell that `config` describes, unless it is done.

    Raises:
        UsageError: Exit code 2, before anything is trained.
        CellStopped: Exit code 1 where the cell failed, 128 + n where signal n stopped it.
    """
    context = job_context()
    try:
        settings = to_settings(config)
        _refuse_sweep_without_multirun(context)
        settings = make_concrete(settings)
        cell = CellFolder(settings.outputs, cell_id(settings))
        record = cell.record()
        if record is None or record.status != DONE:
            check(settings)
    except ValueError as error:
        raise UsageError(error) from None
    if record is not None and record.status == DONE:
        print(f"{cell.cell_id} is done already")
    else:
        try:
            with cell.locked():
                record = train_cell(settings, cell, show_bar=sys.stderr.isatty())
        except Busy:
            print(f"sslbench: another process is training {cell.path}", file=sys.stderr)
            raise CellStopped(1) from None
    print(summary(record, cell.path))
    if record.status == INTERRUPTED:
        raise CellStopped(128 + record.error["signal"])
    if record.status != DONE:
        raise CellStopped(1)


def _refuse_sweep_without_multirun(context: JobContext) -> None:
    if context.is_grid and not context.in_sweep:
        raise ValueError(
            f"experiment={context.experiment} is a sweep of cells: add -m, as in\n"
            f"    python -m sslbench.train -m experiment={context.experiment}"
        )


def train_cell(settings: Settings, cell: CellFolder, *, show_bar: bool) -> Record:
    """Train a cell whose lock is held; its log goes to its folder too."""
    from sslbench.interrupt import StopRequest
    from sslbench.run import run
    from sslbench.tracking import start_tracker

    with _log_to(cell.log_path), StopRequest() as stop:
        tracker = start_tracker(settings, cell.cell_id, cell.path, settings_to_dict(settings))
        return run(settings, cell.cell_id, cell.path, tracker, stop, show_bar=show_bar)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def summary(record: Record, folder: Path) -> str:
    """Say in a few lines how a cell ended, and where its files are."""
    lines = [f"{record.cell}: {record.status}"]
    if record.status == DONE:
        parts = [f"{split} {record.results[split]['accuracy']:.2%}" for split in ("train", "val")]
        parts.append(f"test {record.results['test']['accuracy']:.2%}")
        parts.append(f"{record.runtime['total_seconds']:.0f} s")
        lines.append("  accuracy: " + ", ".join(parts))
        if record.data["name"] == "digits":
            lines.append("  data: the built-in stand-in (digits); not comparable with STL-10")
    elif record.error is not None:
        lines.append(f"  {record.error['type']}: {record.error['message']}")
        if record.status == INTERRUPTED:
            lines.append("  the same command goes on from there")
        else:
            lines.append(f"  log: {folder / 'train.log'}")
    lines.append(f"  files: {folder}")
    return "\n".join(lines)
