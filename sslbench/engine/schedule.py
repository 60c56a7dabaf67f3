"""Durations: epochs in the configuration, steps in the code."""

from dataclasses import dataclass

from sslbench.config.parts import Method
from sslbench.config.ranges import MOST_STEPS, require


@dataclass(frozen=True)
class Schedule:
    """When training ends, and after which steps it is evaluated and its embeddings are kept.

    Steps count from 1: they are the number of steps taken.
    """

    total_steps: int
    steps_per_epoch: float
    steps_per_evaluation: float
    snapshot_steps: frozenset[int]
    """Without the last one, which is always kept where this is not empty."""

    def evaluates_after(self, step: int) -> bool:
        """Whether a step ends an interval of `eval_every` epochs, rounded to steps, or is last."""
        if step == self.total_steps or self.steps_per_evaluation <= 1:
            return True
        nearest = round(step / self.steps_per_evaluation)
        return any(
            k > 0 and round(k * self.steps_per_evaluation) == step
            for k in (nearest - 1, nearest, nearest + 1)
        )

    def keeps_snapshot_after(self, step: int) -> bool:
        return bool(self.snapshot_steps) and (step in self.snapshot_steps | {self.total_steps})


def build_schedule(method: Method, num_images: int, steps: int | None = None) -> Schedule:
    """Convert epochs over `num_images` images to steps; `steps` overrides `method.epochs`.

    Raises:
        ValueError: If the epochs are too many steps.
    """
    per_epoch = num_images / method.batch_size
    total = steps or max(1, round(method.epochs * per_epoch))
    rule = f"{total:.0e} steps of {method.batch_size} images; at most {MOST_STEPS:.0e} are allowed"
    require(total <= MOST_STEPS, "method.epochs", method.epochs, rule)
    return Schedule(
        total_steps=total,
        steps_per_epoch=per_epoch,
        steps_per_evaluation=method.eval_every * per_epoch,
        snapshot_steps=frozenset(method.snapshot_steps),
    )
