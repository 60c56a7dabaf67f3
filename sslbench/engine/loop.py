"""The training loop: steps, curves, validation, checkpoints, exact resume."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sslbench.cell import checkpoint
from sslbench.cell.curves import CurveFile
from sslbench.engine.means import FirstNonFinite, Means
from sslbench.engine.progress import ProgressReport
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.engine.training import Training
from sslbench.interfaces import Tracker
from sslbench.randomness import derive_seed

log = logging.getLogger(__name__)


class NonFiniteLoss(ArithmeticError):
    """The loss of `step` was infinite or NaN; `indices` are the images of its batch by source."""

    def __init__(self, step: int, indices: dict[str, list[int]]) -> None:
        super().__init__(f"the loss was not finite at step {step}")
        self.step = step
        self.indices = indices


@dataclass
class Progress:
    """How far training has come. `seconds` are those of the loop, its validations among them."""

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_accuracy: float = -1.0
    last_means: dict[str, float] = field(default_factory=dict)
    """Of the training steps between the last two validations."""


def fit(
    training: Training,
    cell_id: str,
    folder: Path,
    *,
    validate: Callable[[], dict[str, float]],
    save_snapshot: Callable[[int], None],
    tracker: Tracker,
    stop: StopRequest,
    show_bar: bool = False,
) -> Progress:
    """Train to the last step, from the last checkpoint where there is one.

    Args:
        validate: Returns validation metrics, `accuracy` among them.
        save_snapshot: Keeps embeddings after so many steps.

    Raises:
        NonFiniteLoss: The last checkpoint is from before that step.
        Interrupted: A signal came; the checkpoint holds the step at which training stopped.
    """
    schedule, method = training.schedule, training.method
    state = LoopState(training, cell_id, folder)
    state.resume()
    progress = state.progress
    curves = Curves(training, folder, progress, tracker)
    report = ProgressReport(
        schedule.total_steps, progress.step, training.feed.images_per_step, bar=show_bar
    )
    clock = Clock(progress)
    try:
        for step in range(progress.step, schedule.total_steps):
            method.train()
            torch.manual_seed(derive_seed(training.settings.seed, "dropout", step))
            metrics = training.take_step(training.feed.draw(step), training.rate(step))
            state.add(step, metrics)
            progress.step = step + 1
            clock.tick()

            is_last = progress.step == schedule.total_steps
            if progress.step % training.settings.log_every == 0 or is_last:
                means = state.take_window()
                curves.add("train", means | {"lr": training.rate(step)})
                report.update(progress.step, means)
            if schedule.keeps_snapshot_after(progress.step):
                save_snapshot(progress.step)
            if schedule.evaluates_after(progress.step):
                progress.last_means = state.take_epoch()
                metrics = validate()
                curves.add("val", metrics)
                report.update(
                    progress.step, {f"val_{key}": value for key, value in metrics.items()}
                )
                state.keep_best(metrics["accuracy"])
                clock.tick()
                state.save()
            if stop.signal_number is not None and not is_last:
                state.require_finite()
                state.save()
                raise Interrupted(stop.signal_number, progress.step)
    finally:
        report.close()
    return progress


class LoopState:
    """What a checkpoint holds: progress, running means, the method and its optimizer."""

    def __init__(self, training: Training, cell_id: str, folder: Path) -> None:
        self.training = training
        self.cell_id = cell_id
        self.folder = folder
        self.progress = Progress()
        self.window, self.epoch = Means(), Means()
        self.first_bad = FirstNonFinite(training.device)

    def add(self, step: int, metrics: dict[str, torch.Tensor]) -> None:
        self.window.add(metrics)
        self.epoch.add(metrics)
        self.first_bad.note(step, metrics["loss"])

    def take_window(self) -> dict[str, float]:
        self.require_finite()
        return self.window.take()

    def take_epoch(self) -> dict[str, float]:
        self.require_finite()
        return self.epoch.take()

    def require_finite(self) -> None:
        """Raise if any loss since the start was not finite; asks the GPU, so not at each step."""
        step = self.first_bad.step()
        if step is not None:
            draw = self.training.feed.draw(step)
            raise NonFiniteLoss(step, {name: of["indices"].tolist() for name, of in draw.items()})

    def keep_best(self, accuracy: float) -> None:
        if accuracy > self.progress.best_accuracy:
            self.progress.best_step, self.progress.best_accuracy = self.progress.step, accuracy
            checkpoint.save(self.folder / checkpoint.BEST, self._weights())

    def _weights(self) -> dict[str, Any]:
        method = self.training.method.state_dict()
        return {"cell": self.cell_id, "step": self.progress.step, "method": method}

    def save(self) -> None:
        checkpoint.save(
            self.folder / checkpoint.LAST,
            self._weights()
            | {
                "optimizer": self.training.optimizer.state_dict(),
                "progress": vars(self.progress),
                "window": self.window.state_dict(),
                "epoch": self.epoch.state_dict(),
            },
        )

    def resume(self) -> None:
        """Take over the last checkpoint, if there is one."""
        path = self.folder / checkpoint.LAST
        if not path.exists():
            return
        state = checkpoint.load(path)
        assert state["cell"] == self.cell_id, "a checkpoint of another cell"
        self.training.method.load_state_dict(state["method"])
        if "optimizer" in state:
            checkpoint.load_optimizer(self.training.optimizer, state["optimizer"])
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)
        self.window.load_state_dict(state["window"], self.training.device)
        self.epoch.load_state_dict(state["epoch"], self.training.device)
        log.info("resumed after step %d", self.progress.step)


class Curves:
    """The points of curves, in the cell's file and in the tracker."""

    def __init__(
        self, training: Training, folder: Path, progress: Progress, tracker: Tracker
    ) -> None:
        self.steps_per_epoch = training.schedule.steps_per_epoch
        self.progress = progress
        self.tracker = tracker
        self.file = CurveFile(folder)
        self.file.keep_until(progress.step)  # what came after the checkpoint is drawn again

    def add(self, split: str, metrics: dict[str, float]) -> None:
        step = self.progress.step
        epoch = round(step / self.steps_per_epoch, 4)
        self.file.append({"step": step, "epoch": epoch, "split": split, **metrics})
        self.tracker.log(
            {"step": step, "epoch": epoch, "seconds": self.progress.seconds}
            | {f"{split}/{name}": value for name, value in metrics.items()}
        )


class Clock:
    """Keeps `progress.seconds`, over all the runs that a cell took."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.began = time.monotonic() - progress.seconds

    def tick(self) -> None:
        self.progress.seconds = time.monotonic() - self.began
