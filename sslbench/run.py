"""One cell, top to bottom: settings -> data -> method -> training -> evaluation -> record."""

import logging
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sslbench.atomic import remove_temporaries, write_json
from sslbench.build import build_parts
from sslbench.cell import checkpoint
from sslbench.cell.card import CARD, save_card
from sslbench.cell.record import (
    DONE,
    FAILED,
    INTERRUPTED,
    SETTINGS,
    Record,
    load_record,
    settings_to_dict,
    versions,
)
from sslbench.config.settings import Settings
from sslbench.data import Dataset
from sslbench.data.preview import save_contact_sheet
from sslbench.engine.device import describe, peak_memory_bytes
from sslbench.engine.loop import NonFiniteLoss, Training, fit
from sslbench.engine.schedule import learning_rate
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.evaluate.cell import evaluate_cell, save_embeddings
from sslbench.evaluate.score import classify, score
from sslbench.methods.semi import Semi
from sslbench.tracking import SHEET, Tracker, exit_code

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    cell_id: str,
    folder: Path,
    tracker: Tracker,
    stop: StopRequest,
    *,
    show_bar: bool = False,
) -> Record:
    """Train, evaluate and record a cell, from its last checkpoint where there is one.

    The record is written last: it is the mark that the cell is done. Whatever happens is in it: an
    exception makes a record with status `failed`, a signal one with status `interrupted`.
    """
    started = time.monotonic()
    remove_temporaries(folder)
    previous = load_record(folder)
    record = Record(
        cell=cell_id,
        status=FAILED,
        settings=settings_to_dict(settings),
        failures=previous.failures if previous else 0,
        runtime={"started": datetime.now(UTC).isoformat(timespec="seconds")},
    )
    write_json(folder / SETTINGS, record.settings)
    try:
        _train_and_evaluate(settings, folder, tracker, stop, record, show_bar=show_bar)
        save_card(folder / CARD, record)
        record.status = DONE
    except Interrupted as interruption:
        record.status = INTERRUPTED
        record.error = {"type": "Interrupted", "message": str(interruption)}
        record.error["signal"] = interruption.signal_number
    except (Exception, SystemExit) as error:  # a library that exits costs its cell alone
        expected = isinstance(error, NonFiniteLoss)
        log.error("cell %s failed: %s", cell_id, error, exc_info=not expected)
        record.failures += 1
        record.error = {
            "type": type(error).__name__,
            "message": str(error),
            "traceback": traceback.format_exc(),
        }
        if expected:
            record.error |= {"step": error.step, "indices": error.indices}
    record.runtime["total_seconds"] = round(time.monotonic() - started, 3)
    tracker.results(record, folder)
    tracker.finish(exit_code(record))
    record.save(folder)
    return record


def _train_and_evaluate(
    settings: Settings,
    folder: Path,
    tracker: Tracker,
    stop: StopRequest,
    record: Record,
    *,
    show_bar: bool,
) -> None:
    parts = build_parts(settings)
    method, images, evaluator = parts.method, parts.images, parts.evaluator
    record.data = _describe_data(parts.dataset)
    record.runtime |= {
        "device": str(parts.device),
        "processor": describe(parts.device),
        "precision": parts.precision,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }

    if not (folder / SHEET).exists():
        save_contact_sheet(folder / SHEET, parts.dataset, parts.feed)

    def validate() -> dict[str, float]:
        method.eval()  # all of it: averaged weights are evaluated beside those that train
        encoder = method.evaluated_encoder
        embeddings, labels = evaluator.embed_split(encoder, images.val)
        classifier = method.classifier(lambda: evaluator.embed_split(encoder, images.train))
        found = score(classify(classifier, embeddings), labels)
        metrics = {"accuracy": found.accuracy, "loss": found.loss}
        if isinstance(method, Semi):
            metrics["pseudo_label_accuracy"] = evaluator.pseudo_label_accuracy(
                method.logits, parts.view_a, images.val, settings.seed
            )
        return metrics

    def snapshot(step: int) -> None:
        embeddings, labels = evaluator.embed_split(method.evaluated_encoder, images.val)
        save_embeddings(folder / f"snapshot-{step:06d}.npz", embeddings, labels, images.val.indices)

    progress = fit(
        Training(
            cell_id=record.cell,
            folder=folder,
            seed=settings.seed,
            method=method,
            optimizer=parts.optimizer,
            feed=parts.feed,
            schedule=parts.schedule,
            learning_rate=partial(
                learning_rate, settings.optimizer, total_steps=parts.schedule.total_steps
            ),
            take_step=parts.take_step,
            evaluate=validate,
            snapshot=snapshot,
            tracker=tracker,
            log_every=settings.log_every,
            show_bar=show_bar,
        ),
        stop,
    )

    weights = checkpoint.BEST if settings.method.select == "best" else checkpoint.LAST
    method.load_state_dict(checkpoint.load(folder / weights)["method"])
    train_means: dict[str, float] = dict(progress.epoch_means)
    if "accuracy" in train_means:
        train_means["num_images"] = parts.schedule.last_window * settings.method.batch_size
    record.results = evaluate_cell(
        method, settings.method, evaluator, images, train_means, folder
    ) | {
        "weights": weights,
        "weights_sha256": checkpoint.digest(method),
        "steps": parts.schedule.total_steps,
        "best_step": progress.best_step,
    }
    images_seen = parts.schedule.total_steps * parts.feed.images_per_step
    record.runtime |= {
        "train_seconds": round(progress.seconds, 3),
        "images_per_second": round(images_seen / max(progress.seconds, 1e-9), 2),
        "peak_memory_bytes": peak_memory_bytes(parts.device),
    }
    checkpoint.drop_optimizer(folder / checkpoint.LAST)


def _describe_data(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "num_labeled": len(dataset.train_indices),
        "num_unlabeled": len(dataset.unlabeled_images),
        "num_val": len(dataset.val_indices),
        "num_test": len(dataset.test_indices),
        "mean": [float(value) for value in dataset.mean],
        "std": [float(value) for value in dataset.std],
    }
