"""What a cell will cost: from records of like cells, else from its FLOPs and a measured rate."""

import json
import time
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

from sslbench.cell.folder import cells_folder
from sslbench.cell.record import DONE, load_record
from sslbench.config.as_json import settings_to_json
from sslbench.config.parts import IMAGE_SIDE
from sslbench.config.settings import Settings
from sslbench.processes import available_cores
from sslbench.sweep.preflight import Preflight

if TYPE_CHECKING:
    from torch import nn

RUNTIME = ("train_seconds", "total_seconds", "peak_memory_bytes")
PASSES_PER_STEP = 3
"""Forward, and twice that backward."""
START_SECONDS = 3.0
RATE_SECONDS = 0.3
BASE_BYTES = 900_000_000
"""Of a process with torch and the project's other packages."""
STATES_PER_WEIGHT = 4
"""The weight, its gradient and Adam's two moments."""
KEPT_PER_OUTPUT = 2.0
"""Tensors of its size that a layer's output costs at the peak of a step, kept and passing ones."""


@dataclass(frozen=True)
class Cost:
    """Of one whole cell. `source` is `records` or `flops`."""

    seconds: float
    memory_bytes: int
    source: str


@dataclass(frozen=True)
class Work:
    """Of one image's forward pass: floating-point operations, and values that layers put out."""

    flops: int
    outputs: int
    weights: int


class Estimator:
    """Estimates the cost of cells below one output folder."""

    def __init__(self, outputs: str, preflight: Preflight) -> None:
        self._preflight = preflight
        self._work: dict[str, Work] = {}
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
        import torch

        from sslbench.engine.device import choose_device, choose_precision

        counts = self._preflight.count_images(settings)
        model = repr(settings.model)
        if model not in self._work:
            self._work[model] = count_work(settings.model.build())
        work = self._work[model]
        streams = settings.method.streams(settings.ratio)
        views = sum(stream.batch_size * len(stream.views) for stream in streams)
        evaluated = counts["val"] * schedule.num_evaluations + counts["labeled"] + counts["test"]
        images = schedule.total_steps * PASSES_PER_STEP * views + evaluated
        cores = 1 if torch.cuda.is_available() else settings.threads or available_cores()
        precision = choose_precision(settings.precision, choose_device("auto"))
        rate = cores * measure_rate(precision)
        seconds = START_SECONDS + images * work.flops / rate
        value_bytes = 2 if precision == "bf16" else 4
        memory = BASE_BYTES + 4 * STATES_PER_WEIGHT * work.weights
        memory += int(KEPT_PER_OUTPUT * value_bytes * work.outputs * views)
        return Cost(seconds, memory, "flops")


def likeness(settings: dict[str, Any]) -> str:
    """Return what the cost of a step depends on, of settings as JSON values."""
    apart = ("epochs", "eval_every", "select", "adam_lr", "snapshot_steps")
    method = {key: value for key, value in settings["method"].items() if key not in apart}
    parts = [settings["model"], settings["augmentation"], method, settings["ratio"]["of"]]
    parts += [settings["data"]["name"], settings["precision"], settings["device"]]
    return json.dumps(parts, sort_keys=True)


def count_work(encoder: "nn.Module") -> Work:
    """Count an encoder's work for one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    sizes = []
    for module in encoder.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *passed: sizes.append(passed[-1].numel()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(torch.zeros(1, 3, IMAGE_SIDE, IMAGE_SIDE))
    num_weights = sum(weights.numel() for weights in encoder.parameters())
    return Work(counter.get_total_flops(), sum(sizes), num_weights)


@cache
def measure_rate(precision: str) -> float:
    """Measure the FLOP/s of a residual network's typical layer, forward and backward.

    On a GPU, or on one core: threads beside another program wait for each other, many times longer
    than what they wait for takes.
    """
    import torch
    from torch import nn

    from sslbench.engine.device import autocast, choose_device, keep_freed_memory, use_threads

    keep_freed_memory()
    use_threads(1)
    device = choose_device("auto")
    channels, side, num_images = 64, 24, 64
    layer = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    ).to(device, memory_format=torch.channels_last)
    images = torch.randn(num_images, channels, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    in_precision = autocast(precision, device)

    def seconds_of_step() -> float:
        began = time.perf_counter()
        with in_precision():
            loss = layer(images).float().sum()
        loss.backward()
        images.grad.sum().item()  # waits for the device
        return time.perf_counter() - began

    seconds_of_step()
    took = [seconds_of_step()]
    while sum(took) < RATE_SECONDS:
        took.append(seconds_of_step())
    return PASSES_PER_STEP * 2 * 9 * channels**2 * side**2 * num_images / median(took)
