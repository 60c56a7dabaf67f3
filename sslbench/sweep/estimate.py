"""What a cell will cost: from records of like cells, else from its FLOPs and a measured rate."""

import json
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from sslbench.cell.folder import cells_folder
from sslbench.cell.record import DONE, load_record
from sslbench.config.as_json import settings_to_json
from sslbench.config.settings import Settings
from sslbench.engine.room import step_bytes
from sslbench.engine.work import PASSES_PER_STEP, Work
from sslbench.machine.hardware import may_have_gpu
from sslbench.machine.threads import allowed_threads
from sslbench.sweep.measure import Measurements
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight

RUNTIME = ("train_seconds", "total_seconds", "peak_memory_bytes")
Like = dict[str, list[tuple[float, float, int]]]
"""Seconds a step, other seconds and peak memory of finished cells, by likeness."""
START_SECONDS = 3.0
BASE_BYTES = 900_000_000
"""Of a process with torch and the project's other packages."""
CONTEXT_BYTES = 600_000_000
"""Of a process on a GPU, beside what torch allocates there."""
RESERVED = 1.4
"""What torch and cuDNN hold for each byte that is allocated at the peak. An assumption."""


@dataclass(frozen=True)
class Cost:
    """Of one whole cell. `source` is `records` or `flops`."""

    seconds: float
    memory_bytes: int
    source: str


def estimate(plan: Plan, preflight: Preflight, measurements: Measurements) -> dict[str, Cost | str]:
    """Return by id what the cells that are to do will cost, or why that is not known."""
    records, costs = _records(plan.jobs[0].cell.settings.outputs), {}
    for job in plan.to_do():
        settings, steps = job.cell.settings, preflight.schedule(job.cell.settings).total_steps
        on_gpu = settings.device != "cpu" and may_have_gpu()
        like = records.get(likeness(settings_to_json(settings), on_gpu=on_gpu))
        if like:
            per_step, around, memory = (median(values) for values in zip(*like, strict=True))
            costs[job.cell.id] = Cost(per_step * steps + around, int(memory), "records")
            continue
        try:
            costs[job.cell.id] = _by_flops(settings, preflight, measurements)
        except ValueError as error:
            costs[job.cell.id] = str(error)
    return costs


def gpu_bytes(plan: Plan, preflight: Preflight) -> int | None:
    """Return the memory on a GPU of the largest cell that is to do; None if that is not known."""
    records = _records(plan.jobs[0].cell.settings.outputs)
    needed: dict[str, int] = {}
    for job in plan.to_do():
        settings = job.cell.settings
        key = likeness(settings_to_json(settings), on_gpu=True)
        if key in needed:
            continue
        if key in records:
            needed[key] = int(median(memory for *_, memory in records[key]))
        elif (of_step := step_bytes(settings, bf16=settings.precision == "bf16")) is not None:
            num_images = sum(preflight.count_images(settings).values())
            needed[key] = of_step + num_images * 3 * settings.data.side**2
    return CONTEXT_BYTES + int(RESERVED * max(needed.values())) if needed else None


def _records(outputs: str) -> Like:
    """Return what finished cells cost."""
    found: Like = {}
    for folder in cells_folder(outputs).glob("*/"):
        with suppress(ValueError, KeyError, TypeError):  # the report names it
            record = load_record(folder)
            if record is not None and record.status == DONE:
                in_steps, total, memory = (record.runtime[key] for key in RUNTIME)
                costs = (in_steps / record.results["steps"], max(0.0, total - in_steps), memory)
                on_gpu = record.runtime.get("device", "cpu") != "cpu"
                found.setdefault(likeness(record.settings, on_gpu=on_gpu), []).append(costs)
    return found


def _by_flops(settings: Settings, preflight: Preflight, measurements: Measurements) -> Cost:
    schedule, counts = preflight.schedule(settings), preflight.count_images(settings)
    encoder = {"model": settings_to_json(settings)["model"], "side": settings.data.side}
    work = Work(**measurements.ask("work", encoder))
    rate = measurements.ask("rate", settings.precision)
    streams = settings.method.streams(settings.ratio)
    views = sum(stream.batch_size * len(stream.views) for stream in streams)
    validations = max(1, round(schedule.total_steps / max(1, schedule.steps_per_evaluation)))
    evaluated = counts["val"] * validations + counts["labeled"] + counts["test"]
    images = schedule.total_steps * PASSES_PER_STEP * views + evaluated
    cores = 1 if rate["of_gpu"] else settings.threads or allowed_threads()
    seconds = START_SECONDS + images * work.flops / (cores * rate["flops_per_second"])
    memory = BASE_BYTES + work.step_bytes(views, bf16=rate["precision"] == "bf16")
    return Cost(seconds, memory, "flops")


def likeness(settings: dict[str, Any], *, on_gpu: bool) -> str:
    """Return what the cost of a step depends on, of settings as JSON values."""
    apart = ("epochs", "eval_every", "select", "adam_lr", "snapshot_steps")
    method = {key: value for key, value in settings["method"].items() if key not in apart}
    parts = [settings["model"], settings["augmentation"], method, settings["ratio"]["of"]]
    data = settings["data"]
    parts += [data["name"], data.get("side"), settings["precision"], on_gpu]
    return json.dumps(parts, sort_keys=True)
