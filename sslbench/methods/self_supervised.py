"""What methods that learn without labels have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

from sslbench.config.parts import UNLABELED, Method, Ratio, Stream
from sslbench.config.ranges import all_positive, one_of, positive, require


@dataclass
class SelfSupervised(Method):
    """Two views of each unlabelled image; then a linear probe on the frozen encoder.

    Without further words, a length, batch or learning rate is that of the paper's Barlow Twins, so
    that methods are compared at equal steps.
    """

    epochs: float = 4.0
    batch_size: int = 100
    """Reading: figure 5 ends at step 4000 = 4 epochs x 100,000 images / 100."""
    adam_lr: float = 5e-4
    select: str = "last"
    projector: list[int] = field(default_factory=list)
    """Widths of the layers between the embeddings and the loss; none: it is on the embeddings."""
    probe_l2: float = 1.0
    """L2 penalty of the linear probe on standardised embeddings (1 / C of the logistic loss)."""
    probe_view: str = "plain"
    """Of the labelled train images that the probe is fitted on. Reading: `plain`, as they are; the
    other reading, `view_a` or `view_b`, is a random view of each, which the train accuracy is of
    then, too."""
    knn_k: int = 200
    """Neighbours of the k-NN reading, at most the number of labelled images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.batch_size >= 2, "method.batch_size", self.batch_size, "needs at least 2")
        in_range = 1e-9 <= self.probe_l2 <= 1e9
        require(in_range, "method.probe_l2", self.probe_l2, "must be from 1e-9 to 1e9")
        one_of("method.probe_view", self.probe_view, ("plain", "view_a", "view_b"))
        positive("method.knn_k", self.knn_k, 1_000_000_000)
        all_positive("method.projector", self.projector, 1_000_000, longest=32)

    def settled(self, ratio: Ratio, count_labeled: Callable[[], int]) -> Self:
        usual = type(self).knn_k
        if self.knn_k == usual or self.knn_k < (number := count_labeled()):
            return self
        return replace(self, knn_k=usual if usual >= number else number)

    def streams(self, ratio: Ratio) -> list[Stream]:
        return [Stream(UNLABELED, {"view_a": "view_a", "view_b": "view_b"}, self.batch_size)]
