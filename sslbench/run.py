"""One cell, top to bottom: settings -> data -> method -> training -> evaluation -> record."""

import logging
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sslbench.build import build
from sslbench.cell import checkpoint
from sslbench.cell.cell import Cell
from sslbench.cell.record import DONE, FAILED, INTERRUPTED, PREVIEW, Record
from sslbench.cell.resume import CannotGoOn, Origin, Standing, find_origin, take_up
from sslbench.cell.soundness import drop_damaged, manifest
from sslbench.cell.start import start_digest
from sslbench.cell.versions import code_digest, versions
from sslbench.config.parts import LABELED
from sslbench.config.settings import REESTIMATED
from sslbench.data import open_dataset
from sslbench.data.preview import save_preview
from sslbench.engine.device import describe, peak_memory_bytes
from sslbench.engine.kernels import asked_for, use_kernels
from sslbench.engine.loop import NonFiniteLoss, Progress, fit
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.engine.training import Training
from sslbench.evaluate.bn_statistics import reestimate_statistics
from sslbench.evaluate.cell import evaluate_cell, find_one_class, save_snapshot
from sslbench.evaluate.validation import Validation
from sslbench.files.atomic import remove_temporaries
from sslbench.tracking import Tracker, exit_code
from sslbench.words.trouble import find_trouble, wants_traceback
from sslbench.words.wording import shorten

log = logging.getLogger(__name__)


def run(cell: Cell, tracker: Tracker, stop: StopRequest, *, show_bar: bool = False) -> Record:
    """Train, evaluate and record a cell, from its last checkpoint where there is one.

    The record is written last: it is the mark that the cell is done. Whatever happens is in it: an
    exception makes a record with status `failed`, a signal one with status `interrupted`.
    """
    folder = cell.folder.path
    remove_temporaries(folder)
    record, elapsed = _begin(cell), Stopwatch()
    try:
        cell.save_request()
        start = start_digest(cell.settings)
        training = build(cell.settings)
        if start_digest(cell.settings) != start:
            raise ValueError(f"{cell.settings.init_from} was trained anew meanwhile; start again")
        origin = _describe(record, training, start)
        selects_best = cell.settings.method.select == "best"
        standing = take_up(folder, cell.id, origin, cell.settings.resume, selects_best=selects_best)
        record.notes = list(dict.fromkeys([*standing.notes, *training.notes]))
        for note in record.notes:
            log.warning("%s", note)
        use_kernels(training, origin, standing)
        record.runtime["kernels"] = origin["kernels"]
        if not (folder / PREVIEW).exists():
            save_preview(folder / PREVIEW, training.dataset, training.feed)
        start_seconds = elapsed()
        elapsed.add(_seconds_before(standing, cell))
        progress = fit(
            training,
            folder,
            state=standing.state,
            kept=lambda: {
                "cell": cell.id,
                "origin": origin,
                "notes": record.notes,
                "total_seconds": elapsed(),
            },
            validate=Validation(training),
            save_snapshot=partial(save_snapshot, training, folder),
            track=tracker.log,
            stop=stop,
            show_bar=show_bar,
        )
        before_evaluation = elapsed()
        weights = _select_weights(training, progress, folder, cell.id)
        record.results = evaluate_cell(training, folder)
        record.results |= _training_results(training, progress, record) | {"weights": weights}
        record.results["start_sha256"] = start
        parts = {"start": start_seconds, "evaluation": elapsed() - before_evaluation}
        record.runtime |= _cost(training, progress, parts)
        record.notes += drop_damaged(folder, progress.snapshots)
        _finish(record, folder, training)
    except Interrupted as interruption:
        record.status = INTERRUPTED
        number = interruption.signal_number
        record.error = {"type": "Interrupted", "message": str(interruption), "signal": number}
    except (Exception, SystemExit) as error:  # a library that exits costs its cell alone
        _fail(record, error)
    record.runtime["total_seconds"] = round(elapsed(), 3)
    record.save(folder)
    tracker.results(record, folder)
    tracker.finish(exit_code(record))
    return record


class Stopwatch:
    """Seconds since it was made, and those of earlier parts of the same work."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), 0.0

    def add(self, seconds: float) -> None:
        self._before += seconds

    def __call__(self) -> float:
        return self._before + time.monotonic() - self._began


def _begin(cell: Cell) -> Record:
    """Return the record to fill, with how often the cell has failed so far."""
    previous = cell.folder.record()
    runtime: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    runtime["versions"] = versions() | {"code": code_digest(cell.request["settings"])}
    return cell.record(FAILED, failures=previous.failures if previous else 0, runtime=runtime)


def _seconds_before(standing: Standing, cell: Cell) -> float:
    """Return what the parts of a cell took up to where it stands."""
    if standing.state is None:
        return 0.0
    previous = cell.folder.record()
    recorded = previous.runtime.get("total_seconds", 0.0) if previous is not None else 0.0
    return max(standing.state["total_seconds"], recorded)


def _describe(record: Record, training: Training, start: str | None) -> Origin:
    """Record what the cell trains on, and return what its bits depend on."""
    record.data = training.dataset.describe()
    record.runtime |= {
        "device": str(training.device),
        "processor": describe(training.device),
        "precision": training.precision,
        "threads": torch.get_num_threads(),
        "images_per_step": dict(training.feed.batch_sizes),
    }
    more = {"images": record.data["fingerprint"], "start": start or "none"}
    more |= asked_for(training.settings)
    return find_origin(training.device, training.precision, record.runtime["versions"], more)


def _select_weights(training: Training, progress: Progress, folder: Path, cell: str) -> str:
    """Give the method the weights that it selects, and return the file that is to hold them."""
    selects_best = training.settings.method.select == "best"
    if selects_best:
        assert progress.best is not None, "the last step is validated"
        training.method.load_state_dict(progress.best["method"])
    if training.settings.bn_statistics == REESTIMATED:
        reestimate_statistics(training)
    if not selects_best:
        return checkpoint.LAST
    state = checkpoint.copy_weights(training.method) | {"cell": cell, "step": progress.best_step}
    checkpoint.save(folder / checkpoint.BEST, state)
    return checkpoint.BEST


def _training_results(training: Training, progress: Progress, record: Record) -> dict[str, Any]:
    """Return the train metrics, as steps or the probe saw the images, and how long training was."""
    seen = record.results.get("train_augmented", record.results["train_plain"])
    num_images = len(training.images.train)
    train = {"accuracy": seen["accuracy"], "num_images": num_images, **progress.means}
    if "accuracy" in progress.means:
        train["num_images"] = progress.window * training.feed.batch_sizes[LABELED]
    steps = {"steps": training.schedule.total_steps, "best_step": progress.best_step}
    return {"train": train, **steps}


def _cost(training: Training, progress: Progress, parts: dict[str, float]) -> dict[str, Any]:
    """Return what a cell took. `parts`: the seconds of its last start and of its evaluation."""
    images_seen = training.schedule.total_steps * training.feed.images_per_step
    parts |= {
        "steps": progress.step_seconds,
        "validation": progress.validation_seconds,
        "checkpoints": progress.checkpoint_seconds,
    }
    return {
        "seconds": {name: round(seconds, 3) for name, seconds in parts.items()},
        "train_seconds": round(progress.seconds, 3),
        "train_flops": training.schedule.total_steps * progress.step_flops,
        "images_per_second": round(images_seen / max(progress.seconds, 1e-9), 2),
        "peak_memory_bytes": peak_memory_bytes(training.device),
    }


def _finish(record: Record, folder: Path, training: Training) -> None:
    """Vouch for the files of a cell whose results are there."""
    from sslbench.cell.card import CARD, save_card  # a second to import: not before the first step

    # Images that changed while they were read would be no data set at all: this raises.
    open_dataset(training.settings.data, Path(training.settings.outputs))
    one_class = find_one_class(training, record.results["train"])
    if collapse := record.results["collapse"] or one_class:
        record.notes.append(f"collapsed: {collapse}")
        log.warning("%s", record.notes[-1])
    is_last = record.results["weights"] == checkpoint.LAST
    evaluated = checkpoint.copy_weights(training.method) if is_last else {}
    checkpoint.keep_weights_only(folder, record.cell, evaluated)
    save_card(folder / CARD, record)
    record.files = manifest(folder)
    record.status = DONE


def _fail(record: Record, error: BaseException) -> None:
    trouble = find_trouble(error, f"method.batch_size={record.settings['method']['batch_size']}")
    kind, message = trouble or (type(error).__name__, shorten(str(error)))
    record.status = FAILED
    record.failures += not isinstance(error, CannotGoOn)  # which no further try will mend
    record.error = {"type": kind, "message": message, "traceback": traceback.format_exc()}
    if isinstance(error, NonFiniteLoss):
        record.error |= {"step": error.step, "indices": error.indices}
    where = {"traceback": "\n" + record.error["traceback"]}  # for the cell's log alone
    log.error("cell %s failed: %s", record.cell, message, extra=where, exc_info=wants_traceback())
