"""Pseudo-labelling by consistency: FixMatch (Sohn et al. 2020; paper, tables 3 and 4)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import LABELED, UNLABELED, Method, Ratio, Sizes, Stream
from sslbench.config.ranges import (
    MOST_IMAGES,
    below_one,
    fraction,
    not_negative,
    one_of,
    positive,
)

if TYPE_CHECKING:
    from torch import nn

    from sslbench.interfaces import MethodModule


@dataclass
class Semi(Method):
    """FixMatch with Adam and no threshold: cross-entropy on labels, and on pseudo-labels."""

    name: str = "semi"
    batch_size: int = 32
    """Labelled images per step."""
    unlabeled_batch_size: int = 64
    threshold: float = 0.0
    """Pseudo-labels below this confidence are left out; the paper has none, FixMatch 0.95."""
    unlabeled_weight: float = 1.0
    """Weight of the unlabelled loss. Reading: 1, as in FixMatch."""
    pseudo_labels: str = "hard"
    """`hard`: argmax of the weak view, as the paper has it; `soft`: its whole distribution."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated. Reading: 0, none; FixMatch has 0.999."""
    weak_pass: str = "separate"
    """How the weak view goes through BatchNorm. Reading: `separate`, a pass of its own without
    gradients; `joint`: one batch with the labelled and the strong images, as FixMatch's code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("method.unlabeled_batch_size", self.unlabeled_batch_size, MOST_IMAGES)
        fraction("method.threshold", self.threshold)
        not_negative("method.unlabeled_weight", self.unlabeled_weight, 1e9)
        one_of("method.pseudo_labels", self.pseudo_labels, ("hard", "soft"))
        below_one("method.ema", self.ema)
        one_of("method.weak_pass", self.weak_pass, ("separate", "joint"))

    def streams(self, ratio: Ratio) -> list[Stream]:
        num_unlabeled = self.unlabeled_batch_size
        if ratio.of == "batch" and ratio.unlabeled > 0:
            num_unlabeled = max(1, round(self.batch_size * ratio.unlabeled / ratio.labeled))
        return [
            Stream(LABELED, {"labeled": "view_a"}, self.batch_size),
            Stream(UNLABELED, {"weak": "view_a", "strong": "view_b"}, num_unlabeled),
        ]

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        from sslbench.methods.semi_module import SemiModule

        choices = {"soft": self.pseudo_labels == "soft", "joint": self.weak_pass == "joint"}
        numbers = (self.threshold, self.unlabeled_weight, self.ema)
        return SemiModule(encoder, sizes.num_classes, *numbers, **choices)
