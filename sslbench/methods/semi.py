"""Pseudo-labelling by consistency: FixMatch (Sohn et al. 2020; paper, tables 3 and 4)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import Sizes
from sslbench.config.ranges import fraction, one_of
from sslbench.methods.semi_supervised import PseudoLabeling, smoother_than

if TYPE_CHECKING:
    from torch import nn

    from sslbench.interfaces import MethodModule


@dataclass
class Semi(PseudoLabeling):
    """FixMatch with Adam and no threshold: cross-entropy on labels, and on pseudo-labels.

    With `method=fixmatch` these settings have the values that it was published with.
    """

    name: str = "semi"
    batch_size: int = 32
    unlabeled_batch_size: int = 64
    threshold: float = 0.0
    """Pseudo-labels below this confidence are left out; the paper has none, FixMatch 0.95."""
    pseudo_labels: str = "hard"
    """`hard`: argmax of the weak view, as the paper has it; `soft`: its whole distribution."""
    ema: float = 0.0
    """Reading: 0, none; FixMatch has 0.999."""
    weak_pass: str = "separate"
    """Reading: `separate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("method.threshold", self.threshold)
        one_of("method.pseudo_labels", self.pseudo_labels, ("hard", "soft"))

    def contradictions(self) -> list[str]:
        return super().contradictions() + smoother_than(self.threshold, self.label_smoothing)

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        from sslbench.methods.semi_module import SemiModule

        return SemiModule(encoder, sizes.num_classes, self)
