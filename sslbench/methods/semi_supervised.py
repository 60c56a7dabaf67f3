"""What semi-supervised methods share: their images of both kinds, and how they pass the encoder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from sslbench.config.parts import LABELED, UNLABELED, Method, Ratio, Stream
from sslbench.config.ranges import (
    MOST_IMAGES,
    MOST_STEPS,
    below_one,
    not_negative,
    one_of,
    positive,
)


@dataclass
class SemiSupervised(Method):
    """A loss of labelled images, and one of unlabelled ones. An epoch is of the labelled ones."""

    UNLABELED_VIEWS: ClassVar[dict[str, str]]
    """Name in the batch -> view of the augmentation."""
    batch_size: int = 64
    """Labelled images per step."""
    unlabeled_batch_size: int = 448
    """With `ratio.of=batch` it follows from the ratio."""
    unlabeled_weight: float = 1.0
    """Weight of the unlabelled loss. Reading, for the paper's `semi`: 1, as in FixMatch."""
    ramp_up_steps: int = 0
    """Steps in which that weight rises from 0.7 % of it (Laine and Aila 2017): without, the paper's
    `semi` may collapse to one class in its first hundred steps."""
    labeled_view: str = "view_a"
    """Of the labelled images: `view_a` is the weak one, as in FixMatch, `view_b` the strong one."""
    label_smoothing: float = 0.0
    """Share of each true label that all classes share alike; pseudo-labels stay as they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("method.unlabeled_batch_size", self.unlabeled_batch_size, MOST_IMAGES)
        not_negative("method.unlabeled_weight", self.unlabeled_weight, 1e9)
        not_negative("method.ramp_up_steps", self.ramp_up_steps, MOST_STEPS)
        one_of("method.labeled_view", self.labeled_view, ("view_a", "view_b"))
        below_one("method.label_smoothing", self.label_smoothing)

    def too_slow(self, num_steps: int) -> list[str]:
        lines = super().too_slow(num_steps)
        if self.ramp_up_steps > num_steps:
            lines.append(
                f"method.ramp_up_steps={self.ramp_up_steps}: the unlabelled loss has not its whole "
                f"weight at the end of {num_steps:,} steps; a ramp-up must be shorter than that"
            )
        return lines

    def settled(self, ratio: Ratio, count_labeled: Callable[[], int]) -> Self:
        if _is_of_batches(ratio):
            return replace(self, unlabeled_batch_size=type(self).unlabeled_batch_size)
        return self

    def streams(self, ratio: Ratio) -> list[Stream]:
        num_unlabeled = self.unlabeled_batch_size
        if _is_of_batches(ratio):
            num_unlabeled = max(1, round(self.batch_size * ratio.unlabeled / ratio.labeled))
        return [
            Stream(LABELED, {"labeled": self.labeled_view}, self.batch_size),
            Stream(UNLABELED, self.UNLABELED_VIEWS, num_unlabeled),
        ]


def _is_of_batches(ratio: Ratio) -> bool:
    return ratio.of == "batch" and ratio.unlabeled > 0


def smoother_than(threshold: float, smoothing: float) -> list[str]:
    """Return a line where smoothed labels teach less confidence than a pseudo-label needs."""
    taught = 1 - smoothing
    if smoothing == 0 or threshold <= taught:
        return []
    return [
        f"method.label_smoothing={smoothing:g}: labels teach a confidence of little more than "
        f"{taught:g}, and hardly a pseudo-label passes method.threshold={threshold:g}; "
        "method.label_smoothing=0 leaves them whole"
    ]


@dataclass
class PseudoLabeling(SemiSupervised):
    """Strong views are to be classified as weak views of the same images are.

    The defaults are FixMatch's (Sohn et al. 2020, section 4), whose successors keep them; theirs
    are also `augmentation=fixmatch optimizer=sgd optimizer.schedule=fixmatch` and, as only kernels
    decay in their code, `optimizer.decay_norms_and_biases=false`.
    """

    UNLABELED_VIEWS: ClassVar[dict[str, str]] = {"weak": "view_a", "strong": "view_b"}
    ema: float = 0.999
    """As in every method: decay of the averaged weights that are evaluated."""
    weak_pass: str = "joint"
    """How the weak view goes through BatchNorm. `joint`: one batch with the labelled and the strong
    images, as FixMatch's code; `separate`: a pass of its own without gradients, which costs less.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method.weak_pass", self.weak_pass, ("separate", "joint"))
