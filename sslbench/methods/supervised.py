"""Supervised learning (paper, table 1). Its module is imported late: it is the default method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from sslbench.config.parts import LABELED, Method, Sizes, Stream
from sslbench.config.ranges import below_one, positive, require

if TYPE_CHECKING:
    from torch import nn

    from sslbench.config.parts import Ratio
    from sslbench.interfaces import MethodModule


@dataclass
class Supervised(Method):
    """Cross-entropy on the labelled images.

    With `init.from` this is fine-tuning, and with `method.freeze` a linear classifier on top of
    what was learned before.
    """

    takes_mixed: ClassVar[bool] = True
    name: str = "supervised"
    label_smoothing: float = 0.0
    """Share of each label that all classes share alike."""
    freeze: bool = False
    """Only the head learns; the encoder keeps its weights and its BatchNorm statistics."""
    head_lr_scale: float = 1.0
    """Times the learning rate, for the head."""
    layer_decay: float = 1.0
    """A layer of the encoder has the learning rate of the one above it times this, the last one
    that of the optimizer times this (Clark et al. 2020; for images Bao et al. 2022). A layer is a
    block, or a convolution where there are none. 1: all learn alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("method.label_smoothing", self.label_smoothing)
        positive("method.head_lr_scale", self.head_lr_scale, 1e6)
        in_range = 0 < self.layer_decay <= 1
        require(in_range, "method.layer_decay", self.layer_decay, "must be above 0 and at most 1")

    def settled(self, ratio: "Ratio", count_labeled: Callable[[], int]) -> Self:
        return replace(self, layer_decay=1.0) if self.freeze else self  # no layer learns then

    def streams(self, ratio: "Ratio") -> list[Stream]:
        return [Stream(LABELED, {"view": "view_a"}, self.batch_size)]

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        rates = {"head_lr_scale": self.head_lr_scale, "layer_decay": self.layer_decay}
        if self.freeze or set(rates.values()) != {1}:
            from sslbench.methods.fine_tuning import FineTunedClassifier

            smoothing = self.label_smoothing
            more = {"freeze": self.freeze, **rates}
            return FineTunedClassifier(encoder, sizes.num_classes, smoothing, **more)
        from sslbench.methods.classifier import Classifier

        return Classifier(encoder, sizes.num_classes, self.label_smoothing)
