"""What a cell will cost: from records of like cells, else from its FLOPs and a measured rate."""

import json
from dataclasses import dataclass
from multiprocessing.pool import Pool
from statistics import median
from typing import Any

from sslbench.cell.folder import cells_folder
from sslbench.cell.record import DONE, load_record
from sslbench.config.as_json import settings_to_json
from sslbench.config.settings import Settings
from sslbench.processes import available_cores
from sslbench.sweep.measure import PASSES_PER_STEP, Work, count_work, measure_rate
from sslbench.sweep.preflight import Preflight

RUNTIME = ("train_seconds", "total_seconds", "peak_memory_bytes")
START_SECONDS = 3.0
BASE_BYTES = 900_000_000
"""Of a process with torch and the project's other packages."""


@dataclass(frozen=True)
class Cost:
    """Of one whole cell. `source` is `records` or `flops`."""

    seconds: float
    memory_bytes: int
    source: str


class Estimator:
    """Estimates the cost of cells below one output folder."""

    def __init__(self, outputs: str, preflight: Preflight, process: Pool) -> None:
        self._preflight = preflight
        self._process = process
        self._works: dict[str, Work] = {}
        self._records: dict[str, list[tuple[float, float, int]]] = {}
        for folder in cells_folder(outputs).glob("*/"):
            try:
                record = load_record(folder)
            except ValueError:  # the report names it
                continue
            if record is not None and record.status == DONE:
                in_steps, total, memory = (record.runtime[key] for key in RUNTIME)
                costs = (in_steps / record.results["steps"], max(0.0, total - in_steps), memory)
                self._records.setdefault(likeness(record.settings), []).append(costs)

    def cost(self, settings: Settings) -> Cost:
        """Return the cost of a cell."""
        schedule = self._preflight.schedule(settings)
        like = self._records.get(likeness(settings_to_json(settings)))
        if like:
            per_step, around, memory = (median(values) for values in zip(*like, strict=True))
            return Cost(per_step * schedule.total_steps + around, int(memory), "records")
        counts = self._preflight.count_images(settings)
        model = repr(settings.model)
        if model not in self._works:
            self._works[model] = self._process.apply(count_work, (settings.model,))
        work = self._works[model]
        streams = settings.method.streams(settings.ratio)
        views = sum(stream.batch_size * len(stream.views) for stream in streams)
        validations = max(1, round(schedule.total_steps / max(1, schedule.steps_per_evaluation)))
        evaluated = counts["val"] * validations + counts["labeled"] + counts["test"]
        images = schedule.total_steps * PASSES_PER_STEP * views + evaluated
        rate = self._process.apply(measure_rate, (settings.precision,))
        cores = 1 if rate.of_gpu else settings.threads or available_cores()
        seconds = START_SECONDS + images * work.flops / (cores * rate.flops_per_second)
        value_bytes = 2 if rate.precision == "bf16" else 4
        memory = BASE_BYTES + 4 * 4 * work.weights  # its gradient, and Adam's two moments
        # At the peak of a step: what is kept for each output was measured as 0.9 to 1.2 times it.
        memory += value_bytes * work.outputs * views
        return Cost(seconds, memory, "flops")


def likeness(settings: dict[str, Any]) -> str:
    """Return what the cost of a step depends on, of settings as JSON values."""
    apart = ("epochs", "eval_every", "select", "adam_lr", "snapshot_steps")
    method = {key: value for key, value in settings["method"].items() if key not in apart}
    parts = [settings["model"], settings["augmentation"], method, settings["ratio"]["of"]]
    parts += [settings["data"]["name"], settings["precision"], settings["device"]]
    return json.dumps(parts, sort_keys=True)
