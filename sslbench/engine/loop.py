"""The training loop: steps, curves, validation, checkpoints, exact resume."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sslbench.cell import checkpoint
from sslbench.cell.checkpoint_writer import CheckpointWriter, checkpoint_writer
from sslbench.cell.curves import CURVES, CurveFile
from sslbench.engine.means import EPOCH, WINDOW
from sslbench.engine.progress import ProgressReport
from sslbench.engine.signals import Interrupted, StopRequest
from sslbench.engine.training import Training
from sslbench.engine.work import count_step
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
    """How far training has come."""

    step: int = 0
    seconds: float = 0.0
    """Of the loop; those of its validations, with snapshots and the count of a step's operations,
    and of what it waits for checkpoints among them."""
    validation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    best_step: int = 0
    best_accuracy: float = -1.0
    means: dict[str, float] = field(default_factory=dict)
    """Of the `window` training steps up to the last validation, or to that of `best_step` where the
    method's train figures are of `best`."""
    window: int = 0
    step_flops: int = 0
    """Floating-point operations of a step."""
    snapshots: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files of snapshots so far, by name."""
    best: dict[str, Any] | None = None
    """The weights of `best_step`, on the CPU, where the method selects them."""

    @property
    def step_seconds(self) -> float:
        """Return the seconds of the steps alone."""
        return self.seconds - self.validation_seconds - self.checkpoint_seconds


def fit(
    training: Training,
    folder: Path,
    *,
    state: dict[str, Any] | None,
    kept: Callable[[], dict[str, Any]],
    validate: Callable[[dict[str, float]], dict[str, float]],
    save_snapshot: Callable[[int], Path],
    track: Callable[[dict[str, Any]], None],
    stop: StopRequest,
    show_bar: bool = False,
) -> Progress:
    """Train to the last step, from the state of a checkpoint where there is one.

    Args:
        kept: Returns what checkpoints hold beside the state; the cell's id, as `cell`, among it.
        validate: Returns validation metrics, `accuracy` among them, given the training steps' since
            the one before.
        save_snapshot: Keeps embeddings after so many steps, and returns their file.
        track: Takes points of the curves, as `Tracker.log` does.

    Raises:
        NonFiniteLoss: The last checkpoint is from before that step.
        Interrupted: A signal came; the checkpoint holds the step at which training stopped.
    """
    schedule, settings = training.schedule, training.settings
    with ExitStack() as opened:
        writer = opened.enter_context(checkpoint_writer(folder))
        loop = LoopState(training, folder, kept, track, writer)
        loop.take_over(state)
        progress = loop.progress
        images_per_step = training.feed.images_per_step
        report = ProgressReport(schedule.total_steps, progress.step, images_per_step, bar=show_bar)
        opened.callback(report.close)
        training.method.train()
        for step in range(progress.step, schedule.total_steps):
            torch.manual_seed(derive_seed(settings.seed, "dropout", step))
            training.take_step(step)
            progress.step = step + 1

            is_last = progress.step == schedule.total_steps
            if progress.step % settings.log_every == 0 or is_last:
                means, _ = loop.take(WINDOW)
                loop.log("train", means | {"lr": training.rate(step)})
                report.update(progress.step, means)
            if schedule.keeps_snapshot_after(progress.step):
                loop.require_finite()  # which waits for the device
                with loop.validating():
                    path = save_snapshot(progress.step)
                progress.snapshots[path.name] = file_sha256(path)
            if schedule.evaluates_after(progress.step):
                means = loop.take(EPOCH)
                seconds = round(progress.step_seconds, 3)
                with loop.validating():
                    # Here, and not before the first step, which would wait for it.
                    progress.step_flops = progress.step_flops or _count_step(training)
                    found = validate(means[0])
                cost = {"seconds": seconds, "flops": progress.step * progress.step_flops}
                loop.log("val", found | cost)
                report.update(progress.step, {f"val_{name}": it for name, it in found.items()})
                loop.keep_best(found["accuracy"], *means)
                loop.save()
            if stop.signal_number is not None and not is_last:
                loop.require_finite()
                loop.save()
                writer.wait()
                raise Interrupted(stop.signal_number, progress.step)
        loop.read_clock()
    loop.curves.restore(loop.curves.text)  # whatever was done to the file meanwhile
    return progress


def _count_step(training: Training) -> int:
    feed = training.feed
    return count_step(training.method, feed.assemble(feed.to_device(feed.draw(0))))


@dataclass(eq=False)
class LoopState:
    """What a checkpoint holds: progress, running means, curves, the method and its optimizer."""

    training: Training
    folder: Path
    kept: Callable[[], dict[str, Any]]
    track: Callable[[dict[str, Any]], None]
    writer: CheckpointWriter

    def __post_init__(self) -> None:
        self.curves = CurveFile(self.folder)
        self.progress = Progress()
        self._began = time.monotonic()

    def read_clock(self) -> None:
        """Count the seconds of the loop up to now."""
        self.progress.seconds = time.monotonic() - self._began

    def take(self, since: int) -> tuple[dict[str, float], int]:
        """Return the means since WINDOW or EPOCH, if all losses since the start were finite."""
        self.require_finite()
        self.read_clock()  # now, as the device has caught up
        return self.training.tally.take(since)

    def require_finite(self) -> None:
        """Raise if any loss since the start was not finite; asks the GPU, so not at each step."""
        step = self.training.tally.first_bad()
        if step is not None:
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

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Count the seconds of a validation; then the method goes on training."""
        began = time.monotonic()
        yield
        self.progress.validation_seconds += time.monotonic() - began
        self.training.method.train()

    def keep_best(self, accuracy: float, means: dict[str, float], window: int) -> None:
        """Keep what is reported of the best step, and of the last one.

        Args:
            means: Of the last `window` training steps.
        """
        progress, method = self.progress, self.training.settings.method
        is_best = accuracy > progress.best_accuracy
        if is_best:
            progress.best_step, progress.best_accuracy = progress.step, accuracy
            if method.select == "best":
                progress.best = checkpoint.copy_weights(self.training.method)
        if is_best or method.train_figures == "last":
            progress.means, progress.window = means, window

    def save(self) -> None:
        """Begin to write the state, if it is finite; the one before is kept until the next."""
        began = time.monotonic()
        self.require_finite_weights()
        changing = checkpoint.weights_of(self.training.method) | {
            "optimizer": self.training.optimizer.state_dict(),
            "tally": self.training.tally.state_dict(),
        }
        self.read_clock()
        fixed = self.kept() | {
            "step": self.progress.step,
            "progress": vars(self.progress)
            | {"best": None, "snapshots": dict(self.progress.snapshots)},  # the next one adds to it
            "best": self.progress.best,
            "curves": self.curves.text,
        }
        self.writer.write(changing, fixed)
        self.progress.checkpoint_seconds += time.monotonic() - began

    def take_over(self, state: dict[str, Any] | None) -> None:
        """Go on from the state of a checkpoint; curves after it are drawn again."""
        if state is not None:
            self.training.method.load_state_dict(state["method"])
            if "optimizer" in state:
                checkpoint.load_optimizer(self.training.optimizer, state["optimizer"])
            vars(self.progress).update(state["progress"])
            self.progress.best = state.get("best")
            self.training.tally.load_state_dict(state["tally"])
            self._began -= self.progress.seconds
            log.info("resumed after step %d", self.progress.step)
        if not self.curves.restore("" if state is None else state["curves"]):
            log.warning("%s was damaged; it is restored from the checkpoint", CURVES)
