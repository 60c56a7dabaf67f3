"""Durations and learning rates: epochs in the configuration, steps in the code."""

import math
from dataclasses import dataclass

from sslbench.config import settings


@dataclass(frozen=True)
class Schedule:
    """When training ends, and after which steps it is evaluated and its embeddings are kept."""

    total_steps: int
    steps_per_epoch: float
    evaluate_at: frozenset[int]
    snapshot_at: frozenset[int]

    @property
    def last_window(self) -> int:
        """Steps after the last but one evaluation, or all."""
        return self.total_steps - max(self.evaluate_at - {self.total_steps}, default=0)


def build_schedule(method: settings.Method, num_images: int, steps: int | None = None) -> Schedule:
    """Convert epochs over `num_images` images to steps; `steps` overrides `method.epochs`."""
    per_epoch = num_images / method.batch_size
    total = steps or max(1, round(method.epochs * per_epoch))
    interval = method.eval_every * per_epoch
    evaluate_at = {
        step for k in range(1, int(total / interval) + 1) if (step := round(k * interval)) >= 1
    }
    snapshots = getattr(method, "snapshot_steps", None)
    return Schedule(
        total_steps=total,
        steps_per_epoch=per_epoch,
        evaluate_at=frozenset(step for step in evaluate_at if step < total) | {total},
        snapshot_at=frozenset()
        if snapshots is None
        else frozenset(step for step in snapshots if step < total) | {total},
    )


def learning_rate(optimizer: settings.Optimizer, step: int, *, total_steps: int) -> float:
    """Return the learning rate of step 0 .. total_steps - 1: warm-up, then constant or cosine."""
    warmup_steps = round(optimizer.warmup * total_steps)
    if step < warmup_steps:
        return optimizer.lr * (step + 1) / warmup_steps
    if optimizer.schedule == "constant":
        return optimizer.lr
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return optimizer.lr * (1 + math.cos(math.pi * progress)) / 2
