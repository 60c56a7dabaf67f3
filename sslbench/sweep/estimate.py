"""What a cell will cost: from records of like cells, else from a short measured probe."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from sslbench.atomic import write_json
from sslbench.cell.record import DONE, load_record, settings_to_dict
from sslbench.cell.start import cells_folder
from sslbench.config.settings import Settings
from sslbench.data import is_here
from sslbench.sweep.isolation import run_isolated
from sslbench.sweep.preflight import Preflight

PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class Cost:
    """Of one whole cell. `source` is `records` or `probe`."""

    seconds: float
    memory_bytes: int
    source: str


@dataclass(frozen=True)
class Probe:
    """What a few steps of a cell took."""

    seconds_per_step: float
    seconds_per_evaluation: float
    setup_seconds: float
    memory_bytes: int


def likeness(settings: dict[str, Any]) -> str:
    """Return what the cost of a step depends on, of settings as `settings_to_dict` makes them."""
    method = settings["method"]
    keys = ("type", "batch_size", "unlabeled_batch_size", "weak_pass", "projector")
    parts = [settings["model"], settings["augmentation"], {key: method.get(key) for key in keys}]
    parts += [settings["data"]["name"], settings["precision"], settings["device"]]
    return json.dumps(parts, sort_keys=True)


class Estimator:
    """Estimates the cost of cells below one output folder."""

    def __init__(self, outputs: str, preflight: Preflight, *, may_probe: bool) -> None:
        self._preflight = preflight
        self._may_probe = may_probe
        self._probes_path = Path(outputs) / "cache" / "probes.json"
        self._records: dict[str, list[tuple[float, float, int]]] = {}
        for folder in cells_folder(outputs).glob("*/"):
            self._learn(folder)

    def _learn(self, folder: Path) -> None:
        try:
            record = load_record(folder)
        except ValueError:  # the report names it
            return
        if record is not None and record.status == DONE:
            runtime = record.runtime
            self._records.setdefault(likeness(record.settings), []).append(
                (
                    runtime["train_seconds"] / record.results["steps"],
                    max(0.0, runtime["total_seconds"] - runtime["train_seconds"]),
                    runtime["peak_memory_bytes"],
                )
            )

    def cost(self, settings: Settings) -> Cost | None:
        """Return the cost of a cell, or None where nothing tells it or its data is not here."""
        if not is_here(settings.data):
            return None
        schedule = self._preflight.schedule(settings)
        like = self._records.get(likeness(settings_to_dict(settings)))
        if like:
            per_step, around, memory = (median(values) for values in zip(*like, strict=True))
            return Cost(per_step * schedule.total_steps + around, int(memory), "records")
        probe = self._probe(settings)
        if probe is None:
            return None
        seconds = (
            probe.setup_seconds
            + schedule.total_steps * probe.seconds_per_step
            + (len(schedule.evaluate_at) + 3) * probe.seconds_per_evaluation
        )
        return Cost(seconds, probe.memory_bytes, "probe")

    def _probe(self, settings: Settings) -> Probe | None:
        key = likeness(settings_to_dict(settings))
        known = json.loads(self._probes_path.read_text()) if self._probes_path.exists() else {}
        if key not in known and not self._may_probe:
            return None
        if key not in known:
            result = self._probes_path.with_suffix(".new")
            result.unlink(missing_ok=True)
            run_isolated(measure, replace(settings, init={"from": None}), result)
            if not result.exists():
                return None
            known[key] = json.loads(result.read_text())
            result.unlink()
            write_json(self._probes_path, known)
        return Probe(**known[key])


def measure(settings: Settings, path: Path) -> None:
    """Take a few steps and an evaluation of a cell, and write what they cost to `path`."""
    from sslbench.build import build_parts
    from sslbench.engine.device import peak_memory_bytes

    began = time.monotonic()
    parts = build_parts(settings)
    setup = time.monotonic() - began
    rate = settings.optimizer.lr
    parts.take_step(parts.feed.draw(0), rate)["loss"].item()
    began, steps = time.monotonic(), 0
    while steps == 0 or time.monotonic() - began < PROBE_SECONDS:
        steps += 1
        parts.take_step(parts.feed.draw(steps), rate)["loss"].item()
    per_step = (time.monotonic() - began) / steps
    began = time.monotonic()
    parts.evaluator.embed_split(parts.method.evaluated_encoder, parts.images.val)
    evaluation = time.monotonic() - began
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(Probe(per_step, evaluation, setup, peak_memory_bytes(parts.device))))
