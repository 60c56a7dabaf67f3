"""One cell, top to bottom: settings -> data -> method -> training -> evaluation -> record."""

import logging
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

from sslbench.atomic import remove_temporaries
from sslbench.build import build
from sslbench.cell import checkpoint
from sslbench.cell.card import CARD, save_card
from sslbench.cell.cell import Cell
from sslbench.cell.record import DONE, FAILED, INTERRUPTED, Record
from sslbench.cell.versions import code_digest, versions
from sslbench.config.parts import LABELED
from sslbench.data.preview import PREVIEW, save_preview
from sslbench.engine.device import describe, peak_memory_bytes
from sslbench.engine.loop import NonFiniteLoss, Progress, fit
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.engine.training import Training
from sslbench.evaluate.cell import evaluate_cell, save_snapshot, validate
from sslbench.tracking import Tracker, exit_code
from sslbench.trouble import find_trouble, wants_traceback
from sslbench.wording import shorten

log = logging.getLogger(__name__)


def run(cell: Cell, tracker: Tracker, stop: StopRequest, *, show_bar: bool = False) -> Record:
    """Train, evaluate and record a cell, from its last checkpoint where there is one.

    The record is written last: it is the mark that the cell is done. Whatever happens is in it: an
    exception makes a record with status `failed`, a signal one with status `interrupted`.
    """
    began = time.monotonic()
    folder = cell.folder.path
    remove_temporaries(folder)
    record = _begin(cell)
    seconds_before = record.runtime.pop("total_seconds", 0.0)
    cell.save_request()
    try:
        training = build(cell.settings)
        record.data = training.dataset.describe()
        record.runtime |= _describe(training)
        if not (folder / PREVIEW).exists():
            save_preview(folder / PREVIEW, training.dataset, training.feed)
        progress = fit(
            training,
            cell.id,
            folder,
            validate=partial(validate, training),
            save_snapshot=partial(save_snapshot, training, folder),
            track=tracker.log,
            stop=stop,
            show_bar=show_bar,
        )
        weights = checkpoint.BEST if cell.settings.method.select == "best" else checkpoint.LAST
        training.method.load_state_dict(checkpoint.load(folder / weights)["method"])
        record.results = evaluate_cell(training, folder)
        record.results |= _training_results(training, progress, record) | {"weights": weights}
        record.runtime |= _cost(training, progress)
        checkpoint.drop_optimizer(folder / checkpoint.LAST)
        record.status = DONE
        save_card(folder / CARD, record)
    except Interrupted as interruption:
        record.status = INTERRUPTED
        number = interruption.signal_number
        record.error = {"type": "Interrupted", "message": str(interruption), "signal": number}
    except (Exception, SystemExit) as error:  # a library that exits costs its cell alone
        _fail(record, error)
    record.runtime["total_seconds"] = round(seconds_before + time.monotonic() - began, 3)
    tracker.results(record, folder)
    tracker.finish(exit_code(record))
    record.save(folder)
    return record


def _begin(cell: Cell) -> Record:
    """Return the record to fill, with what an earlier try left: its failures, and its time."""
    previous = cell.folder.record()
    runtime: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    if previous is not None and previous.status == INTERRUPTED:
        runtime["total_seconds"] = previous.runtime.get("total_seconds", 0.0)
    runtime["versions"] = versions() | {"code": code_digest(cell.request["settings"])}
    return cell.record(FAILED, failures=previous.failures if previous else 0, runtime=runtime)


def _describe(training: Training) -> dict[str, Any]:
    return {
        "device": str(training.device),
        "processor": describe(training.device),
        "precision": training.precision,
        "threads": torch.get_num_threads(),
    }


def _training_results(training: Training, progress: Progress, record: Record) -> dict[str, Any]:
    """Return the train metrics, as the last steps saw the images, and how long training was."""
    train = {
        "accuracy": record.results["train_plain"]["accuracy"],
        "num_images": len(training.images.train),
        **progress.last_means,
    }
    if "accuracy" in progress.last_means:
        labeled = sum(it.batch_size for it in training.feed.sources if it.name == LABELED)
        train["num_images"] = progress.last_window * labeled
    steps = {"steps": training.schedule.total_steps, "best_step": progress.best_step}
    return {"train": train, **steps}


def _cost(training: Training, progress: Progress) -> dict[str, Any]:
    images_seen = training.schedule.total_steps * training.feed.images_per_step
    return {
        "train_seconds": round(progress.seconds, 3),
        "images_per_second": round(images_seen / max(progress.seconds, 1e-9), 2),
        "peak_memory_bytes": peak_memory_bytes(training.device),
    }


def _fail(record: Record, error: BaseException) -> None:
    trouble = find_trouble(error, f"method.batch_size={record.settings['method']['batch_size']}")
    kind, message = trouble or (type(error).__name__, shorten(str(error)))
    record.status = FAILED
    record.failures += 1
    record.error = {"type": kind, "message": message, "traceback": traceback.format_exc()}
    if isinstance(error, NonFiniteLoss):
        record.error |= {"step": error.step, "indices": error.indices}
    where = {"traceback": "\n" + record.error["traceback"]}  # for the cell's log alone
    log.error("cell %s failed: %s", record.cell, message, extra=where, exc_info=wants_traceback())
