"""Where a cell can be watched: Weights & Biases, TensorBoard, or nowhere.

Nothing here costs a cell its result: trouble is one line in the log, nothing prompts, and each wait
is bounded. The curves on disk are the record; W&B's offline file is written every 15 s, so that a
killed process may lose that much of it.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from sslbench.cell.record import DONE, INTERRUPTED, Record
from sslbench.wandb_run import TROUBLE, end_service, one_line, start_run

if TYPE_CHECKING:
    import wandb
    from torch.utils.tensorboard import SummaryWriter

    from sslbench.config.settings import Settings

    Start, Action = Callable[[], wandb.Run | None], Callable[[wandb.Run], object]

log = logging.getLogger(__name__)
START_SECONDS, FINISH_SECONDS = 60, 180
"""How long a cell waits for W&B at most: before its first step, and after its last."""
MAX_WAITING = 10_000
"""Points that wait for W&B before it is given up."""


class Tracker:
    """Takes points of curves, then what came of the cell, then the end; this one keeps nothing."""

    def log(self, point: dict[str, Any]) -> None:
        """Add a point; `step` is among its keys, the others are named `split/metric`."""

    def results(self, record: Record, folder: Path) -> None:
        """Add what the record says; if the cell is done, pictures and tables from its folder."""

    def finish(self, exit_code: int) -> None:
        """Close the run and say how it ended; once closed, this does nothing."""


class WandbTracker(Tracker):
    """A W&B run, in a thread of its own: whoever calls waits a bounded time, or not at all.

    At the first trouble it warns, and from then on only tries to close the run.

    Args:
        start: Starts the run; None where it cannot.
        checkpoints: Whether to upload the weights of a finished cell.
    """

    def __init__(self, start: "Start", *, checkpoints: bool = False) -> None:
        self._checkpoints = checkpoints
        self._waiting: Queue[Action | int] = Queue(MAX_WAITING)  # a number ends the run
        self._in_order, self._open = True, True
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(start,), daemon=True)
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            log.warning("Weights & Biases has not started in %d s, going on", START_SECONDS)

    def log(self, point: dict[str, Any]) -> None:
        point = dict(point)
        self._enqueue(lambda run: run.log(point))

    def results(self, record: Record, folder: Path) -> None:
        self._enqueue(lambda run: self._log_results(run, record, folder))

    def finish(self, exit_code: int) -> None:
        if not self._open:
            return
        self._open = False
        with suppress(Full):  # which has been said
            self._waiting.put_nowait(exit_code)
            self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"no answer in {FINISH_SECONDS} s")
            end_service()

    def _enqueue(self, action: "Action") -> None:
        if self._in_order:
            try:
                self._waiting.put_nowait(action)
            except Full:
                self._give_up(f"{MAX_WAITING} points wait for it")

    def _serve(self, start: "Start") -> None:
        try:
            run = start()
        finally:
            self._started.set()
        if run is None:
            self._in_order = False  # it has been said why
            return
        exit_code = None
        while exit_code is None:
            action = self._waiting.get()
            try:
                if isinstance(action, int):
                    exit_code = action
                    run.finish(exit_code=exit_code)
                elif self._in_order:
                    action(run)
            except TROUBLE as error:
                self._give_up(one_line(error))
                if exit_code is not None:
                    end_service()

    def _give_up(self, reason: str) -> None:
        if self._in_order:
            log.warning("Weights & Biases failed, going on without it: %s", reason)
        self._in_order = False

    def _log_results(self, run: "wandb.Run", record: Record, folder: Path) -> None:
        values = summary_values(record)
        run.summary.update(values)
        if record.status == DONE:
            from sslbench.media import pictures_and_tables, weights_artifact

            run.log(pictures_and_tables(record, folder))
            if self._checkpoints:
                run.log_artifact(weights_artifact(record, folder, values))


class TensorBoardTracker(Tracker):
    """Event files below a cell's folder; at the first trouble it warns, and writes no more.

    Points of a stopped cell that it computes again are hidden by those that come then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._in_order = folder / "tensorboard", True
        self._writer: SummaryWriter | None = None

    def log(self, point: dict[str, Any]) -> None:
        self._try(lambda: self._write(point))

    def results(self, record: Record, folder: Path) -> None:
        if self._writer is not None and record.status == DONE:
            from sslbench.tensorboard_run import show_results

            values = summary_values(record)
            self._try(lambda: show_results(self._writer, record, folder, values))

    def finish(self, exit_code: int) -> None:
        if self._writer is not None:
            self._try(self._writer.close)
            self._writer = None

    def _write(self, point: dict[str, Any]) -> None:
        step = point["step"]
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder, purge_step=step, flush_secs=15)
        for name, value in point.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)

    def _try(self, action: Callable[[], object]) -> None:
        if self._in_order:
            try:
                action()
            except TROUBLE as error:
                self._in_order = False
                log.warning("TensorBoard failed, going on without it: %s", one_line(error))


def start_tracker(
    settings: "Settings", cell_id: str, folder: Path, config: dict[str, Any]
) -> Tracker:
    """Start tracking a cell under its own id, so that running it again continues the same run."""
    tracking = settings.tracking
    if tracking.name == "off":
        return Tracker()
    if tracking.name == "tensorboard":
        return TensorBoardTracker(folder)
    parts = [settings.method.name, settings.model.name]
    parts += [settings.ratio.name] if settings.uses_pool else []
    seed = f"seed {settings.seed}"
    start = partial(
        start_run,
        tracking,
        folder,
        id=_run_id(cell_id),
        name=" ".join([*parts, seed]),
        job_type=settings.method.name,
        tags=[*parts[1:], settings.data.safe_name, seed],
        config=config | {"cell": cell_id, "row": _row([*parts, settings.data.name], config)},
    )
    return WandbTracker(start, checkpoints=tracking.checkpoints)


def _run_id(cell_id: str) -> str:
    """Return the cell's id, or the one of the run that `wandb agent` waits for."""
    return os.environ.get("WANDB_RUN_ID", cell_id) if "WANDB_SWEEP_ID" in os.environ else cell_id


def _row(parts: list[str], config: dict[str, Any]) -> str:
    """Name what a cell is but for its seed: runs of one name may be averaged."""
    start = config.get("init", {}).get("from")
    origin = [f"from {start.partition('-')[0]}"] if start else []
    changes = [f"{key}={value}" for key, value in config.get("changes", {}).items()]
    return " ".join([*parts, *origin, *changes])


def exit_code(record: Record) -> int:
    """Return what W&B shows a cell's end by: 0 finished, others failed, 128 + n by signal n."""
    if record.status == INTERRUPTED:
        return 128 + record.error["signal"]
    return 0 if record.status == DONE else 1


def summary_values(record: Record) -> dict[str, Any]:
    """Return what stands beside the run's name in tables: status, metrics, times."""
    values: dict[str, Any] = {"status": record.status}
    for name, result in record.results.items():
        values |= (
            {f"{name}/{metric}": value for metric, value in result.items()}
            if isinstance(result, dict)
            else {name: result}
        )
    values |= record.runtime
    if record.error is not None:
        values["error"] = f"{record.error['type']}: {record.error['message']}"
    return {key: value for key, value in values.items() if isinstance(value, int | float | str)}
