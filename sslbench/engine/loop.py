"""The training loop: steps, curves, validation, checkpoints, exact resume."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.atomic import CurveFile
from sslbench.cell import checkpoint
from sslbench.data.feed import Draw, Feed
from sslbench.engine.progress import ProgressReport
from sslbench.engine.schedule import Schedule
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.randomness import derive_seed
from sslbench.tracking import Tracker

log = logging.getLogger(__name__)


class NonFiniteLoss(ArithmeticError):
    """The loss of `step` was infinite or NaN; `indices` are the images of its batch."""

    def __init__(self, step: int, indices: dict[str, list[int]]) -> None:
        super().__init__(f"the loss was not finite at step {step}")
        self.step = step
        self.indices = indices


class Means:
    """Running means of scalar tensors, summed where they are so that nothing waits for a GPU."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.count += 1

    def take(self) -> dict[str, float]:
        """Return the means and start anew."""
        means = {name: value.item() / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "count": self.count}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.count = state["count"]


@dataclass
class Progress:
    """How far training has come. `seconds` are those of the loop, its validations among them."""

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_accuracy: float = -1.0
    epoch_means: dict[str, float] = field(default_factory=dict)
    """Of the training steps between the last two validations."""


@dataclass
class Training:
    """What the loop drives."""

    cell_id: str
    folder: Path
    seed: int
    method: nn.Module
    optimizer: torch.optim.Optimizer
    feed: Feed
    schedule: Schedule
    learning_rate: Callable[[int], float]
    take_step: Callable[[Draw, float], dict[str, Tensor]]
    """Learns from a draw at a learning rate and returns metrics, `loss` among them."""
    evaluate: Callable[[], dict[str, float]]
    """Validation metrics, `accuracy` among them."""
    snapshot: Callable[[int], None]
    tracker: Tracker
    log_every: int
    show_bar: bool


def fit(training: Training, stop: StopRequest) -> Progress:
    """Train to the last step, from the last checkpoint where there is one.

    Raises:
        NonFiniteLoss: The last checkpoint is from before that step.
        Interrupted: A signal came; the checkpoint holds the step at which training stopped.
    """
    return _Fit(training, stop).run()


class _Fit:
    def __init__(self, training: Training, stop: StopRequest) -> None:
        self.training = training
        self.stop = stop
        self.device = training.feed.device
        self.progress = Progress()
        self.window, self.epoch = Means(), Means()
        self.first_bad = torch.tensor(-1, device=self.device)
        self.curves = CurveFile(training.folder / "metrics.jsonl")

    def run(self) -> Progress:
        training, schedule, progress = self.training, self.training.schedule, self.progress
        self.resume()
        report = ProgressReport(
            schedule.total_steps,
            progress.step,
            training.feed.images_per_step,
            bar=training.show_bar,
        )
        seconds_before, began = progress.seconds, time.monotonic()
        try:
            while progress.step < schedule.total_steps:
                self.take_step(progress.step)
                progress.step += 1
                step = progress.step
                progress.seconds = seconds_before + time.monotonic() - began
                if step % training.log_every == 0 or step == schedule.total_steps:
                    report.update(step, self.log_window())
                if step in schedule.snapshot_at:
                    training.snapshot(step)
                if step in schedule.evaluate_at:
                    report.update(step, self.validate())
                    progress.seconds = seconds_before + time.monotonic() - began
                    self.save()
                if self.stop.signal_number is not None and step < schedule.total_steps:
                    self.require_finite()
                    self.save()
                    raise Interrupted(self.stop.signal_number, step)
        finally:
            report.close()
        return progress

    def take_step(self, step: int) -> None:
        training = self.training
        training.method.train()
        torch.manual_seed(derive_seed(training.seed, "dropout", step))
        metrics = training.take_step(training.feed.draw(step), training.learning_rate(step))
        self.window.add(metrics)
        self.epoch.add(metrics)
        bad = ~torch.isfinite(metrics["loss"]) & (self.first_bad < 0)
        self.first_bad = torch.where(bad, step, self.first_bad)

    def require_finite(self) -> None:
        """Raise if any loss since the start was not finite; asks the GPU, so not at each step."""
        step = int(self.first_bad.item())
        if step >= 0:
            raise NonFiniteLoss(step, self.training.feed.indices(step))

    def log_window(self) -> dict[str, float]:
        self.require_finite()
        means = self.window.take()
        self.record("train", means | {"lr": self.training.learning_rate(self.progress.step - 1)})
        return means

    def validate(self) -> dict[str, float]:
        self.require_finite()
        progress = self.progress
        progress.epoch_means = self.epoch.take()
        metrics = self.training.evaluate()
        self.record("val", metrics)
        if metrics["accuracy"] > progress.best_accuracy:
            progress.best_step, progress.best_accuracy = progress.step, metrics["accuracy"]
            checkpoint.save(
                self.training.folder / checkpoint.BEST,
                {
                    "cell": self.training.cell_id,
                    "step": progress.step,
                    "method": self.training.method.state_dict(),
                },
            )
        return {f"val_{name}": value for name, value in metrics.items()}

    def record(self, split: str, metrics: dict[str, float]) -> None:
        step = self.progress.step
        epoch = round(step / self.training.schedule.steps_per_epoch, 4)
        self.curves.append({"step": step, "epoch": epoch, "split": split, **metrics})
        self.training.tracker.log(
            {"step": step, "epoch": epoch, "seconds": self.progress.seconds}
            | {f"{split}/{name}": value for name, value in metrics.items()}
        )

    def save(self) -> None:
        checkpoint.save(
            self.training.folder / checkpoint.LAST,
            {
                "cell": self.training.cell_id,
                "step": self.progress.step,
                "method": self.training.method.state_dict(),
                "optimizer": self.training.optimizer.state_dict(),
                "progress": vars(self.progress),
                "window": self.window.state_dict(),
                "epoch": self.epoch.state_dict(),
            },
        )

    def resume(self) -> None:
        """Go on from the last checkpoint; curves after it are drawn again."""
        path = self.training.folder / checkpoint.LAST
        if path.exists():
            state = checkpoint.load(path)
            assert state["cell"] == self.training.cell_id, "a checkpoint of another cell"
            self.training.method.load_state_dict(state["method"])
            if "optimizer" in state:
                checkpoint.load_optimizer(self.training.optimizer, state["optimizer"])
            for name, value in state["progress"].items():
                setattr(self.progress, name, value)
            self.window.load_state_dict(state["window"], self.device)
            self.epoch.load_state_dict(state["epoch"], self.device)
            log.info("resumed after step %d", self.progress.step)
        self.curves.keep_until(self.progress.step)
