"""The training loop: steps, curves, validation, checkpoints, exact resume."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sslbench.cell import checkpoint
from sslbench.cell.curves import CURVES, CurveFile
from sslbench.engine.means import Means
from sslbench.engine.progress import ProgressReport
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.engine.training import Training
from sslbench.files.checksums import file_sha256
from sslbench.randomness import derive_seed

log = logging.getLogger(__name__)


class NotFinite(ArithmeticError):
    """Weights, embeddings or logits were infinite or NaN after a step."""


class NonFiniteLoss(NotFinite):
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
    """Of the `last_window` training steps up to the last validation."""
    last_window: int = 0
    snapshots: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files of snapshots so far, by name."""
    best: dict[str, Any] | None = None
    """The weights of `best_step`, on the CPU, where the method selects them."""


def fit(
    training: Training,
    folder: Path,
    *,
    state: dict[str, Any] | None,
    kept: Callable[[], dict[str, Any]],
    validate: Callable[[], dict[str, float]],
    save_snapshot: Callable[[int], Path],
    track: Callable[[dict[str, Any]], None],
    stop: StopRequest,
    show_bar: bool = False,
) -> Progress:
    """Train to the last step, from the state of a checkpoint where there is one.

    Args:
        kept: Returns what checkpoints hold beside the state; the cell's id, as `cell`, among it.
        validate: Returns validation metrics, `accuracy` among them.
        save_snapshot: Keeps embeddings after so many steps, and returns their file.
        track: Takes points of the curves, as `Tracker.log` does.

    Raises:
        NonFiniteLoss: The last checkpoint is from before that step.
        Interrupted: A signal came; the checkpoint holds the step at which training stopped.
    """
    schedule, settings = training.schedule, training.settings
    loop = LoopState(training, folder, kept, track)
    loop.take_over(state)
    progress = loop.progress
    began = time.monotonic() - progress.seconds
    images_per_step = training.feed.images_per_step
    report = ProgressReport(schedule.total_steps, progress.step, images_per_step, bar=show_bar)
    try:
        for step in range(progress.step, schedule.total_steps):
            training.method.train()
            torch.manual_seed(derive_seed(settings.seed, "dropout", step))
            metrics = training.take_step(training.feed.draw(step), training.rate(step))
            loop.add(step, metrics)
            progress.seconds = time.monotonic() - began

            is_last = progress.step == schedule.total_steps
            if progress.step % settings.log_every == 0 or is_last:
                means = loop.take(loop.window)
                loop.log("train", means | {"lr": training.rate(step)})
                report.update(progress.step, means)
            if schedule.keeps_snapshot_after(progress.step):
                path = save_snapshot(progress.step)
                progress.snapshots[path.name] = file_sha256(path)
            if schedule.evaluates_after(progress.step):
                progress.last_window = loop.epoch.count
                progress.last_means = loop.take(loop.epoch)
                found = validate()
                loop.log("val", found)
                report.update(progress.step, {f"val_{name}": it for name, it in found.items()})
                loop.keep_best(found["accuracy"])
                progress.seconds = time.monotonic() - began
                loop.save()
            if stop.signal_number is not None and not is_last:
                loop.require_finite()
                loop.save()
                raise Interrupted(stop.signal_number, progress.step)
    finally:
        report.close()
    loop.curves.restore(loop.curves.text)  # whatever was done to the file meanwhile
    return progress


@dataclass(eq=False)
class LoopState:
    """What a checkpoint holds: progress, running means, curves, the method and its optimizer."""

    training: Training
    folder: Path
    kept: Callable[[], dict[str, Any]]
    track: Callable[[dict[str, Any]], None]

    def __post_init__(self) -> None:
        self.curves = CurveFile(self.folder)
        self.progress = Progress()
        self.window, self.epoch = Means(), Means()
        self.first_bad = torch.tensor(-1, device=self.training.device)
        """The first step whose loss was infinite or NaN."""

    def add(self, step: int, metrics: dict[str, torch.Tensor]) -> None:
        """Count a step that was taken."""
        self.window.add(metrics)
        self.epoch.add(metrics)
        is_first = ~torch.isfinite(metrics["loss"]) & (self.first_bad < 0)
        self.first_bad = torch.where(is_first, step, self.first_bad)
        self.progress.step = step + 1

    def take(self, means: Means) -> dict[str, float]:
        self.require_finite()
        return means.take()

    def require_finite(self) -> None:
        """Raise if any loss since the start was not finite; asks the GPU, so not at each step."""
        step = int(self.first_bad)
        if step >= 0:
            draw = self.training.feed.draw(step)
            raise NonFiniteLoss(step, {name: of["indices"].tolist() for name, of in draw.items()})

    def require_finite_weights(self) -> None:
        """Raise if a step that had a finite loss left weights that are not."""
        weights = self.training.method.state_dict()
        is_bad = torch.stack([~torch.isfinite(it).all() for it in weights.values()]).tolist()
        if any(is_bad):
            name = list(weights)[is_bad.index(True)]
            raise NotFinite(f"{name} was not finite after step {self.progress.step}")

    def log(self, split: str, metrics: dict[str, float]) -> None:
        """Add a point of the curves, to the cell's file and to the tracker."""
        step = self.progress.step
        where = {"step": step, "epoch": round(step / self.training.schedule.steps_per_epoch, 4)}
        self.curves.append({**where, "split": split, **metrics})
        named = {f"{split}/{name}": value for name, value in metrics.items()}
        self.track({**where, "seconds": self.progress.seconds, **named})

    def keep_best(self, accuracy: float) -> None:
        if accuracy > self.progress.best_accuracy:
            self.progress.best_step, self.progress.best_accuracy = self.progress.step, accuracy
            if self.training.settings.method.select == "best":
                self.progress.best = checkpoint.copy_weights(self.training.method)

    def save(self) -> None:
        """Write the state, if it is finite; the one before it is kept until the next."""
        self.require_finite_weights()
        progress = vars(self.progress) | {"best": None}
        state = self.kept() | checkpoint.weights_of(self.training.method)
        state |= {
            "step": self.progress.step,
            "optimizer": self.training.optimizer.state_dict(),
            "progress": progress,
            "best": self.progress.best,
            "window": self.window.state_dict(),
            "epoch": self.epoch.state_dict(),
            "curves": self.curves.text,
        }
        before = self.folder / checkpoint.BEFORE_LAST
        checkpoint.save(self.folder / checkpoint.LAST, state, keep_as=before)

    def take_over(self, state: dict[str, Any] | None) -> None:
        """Go on from the state of a checkpoint; curves after it are drawn again."""
        if state is not None:
            self.training.method.load_state_dict(state["method"])
            if "optimizer" in state:
                checkpoint.load_optimizer(self.training.optimizer, state["optimizer"])
            vars(self.progress).update(state["progress"])
            self.progress.best = state.get("best")
            self.window.load_state_dict(state["window"], self.training.device)
            self.epoch.load_state_dict(state["epoch"], self.training.device)
            log.info("resumed after step %d", self.progress.step)
        if not self.curves.restore("" if state is None else state["curves"]):
            log.warning("%s was damaged; it is restored from the checkpoint", CURVES)
