"""FlexMatch (Zhang et al. 2021): classes that are learnt less have lower thresholds."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.config.parts import Sizes
from sslbench.config.ranges import fraction
from sslbench.interfaces import MethodModule
from sslbench.methods.pseudo_labels import PseudoLabelingModule, describe_thresholds
from sslbench.methods.semi_supervised import PseudoLabeling, smoother_than

UNUSED = -1


@dataclass
class FlexMatch(PseudoLabeling):
    """FixMatch with a threshold for each class, by curriculum."""

    name: str = "flexmatch"
    threshold: float = 0.95
    """Of the class that is learnt best, once most images have passed it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("method.threshold", self.threshold)

    def contradictions(self) -> list[str]:
        return super().contradictions() + smoother_than(self.threshold, self.label_smoothing)

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return FlexMatchModule(encoder, sizes, self)


class FlexMatchModule(PseudoLabelingModule):
    """Curriculum pseudo-labelling: algorithm 1, with threshold warm-up and the convex mapping.

    `learned` holds, for each image of the unlabelled file, its class when it last was at least as
    sure as the highest threshold (they print `>`, their code has `>=`), or UNUSED. A step has the
    thresholds of what was learned before it: as nothing is at first, all pseudo-labels count then.
    """

    def __init__(self, encoder: nn.Module, sizes: Sizes, settings: FlexMatch) -> None:
        super().__init__(encoder, sizes.num_classes, settings)
        self.threshold, self.num_pool = settings.threshold, sizes.num_pool
        # One place more, of no image: see _learn.
        self.register_buffer("learned", torch.full((sizes.num_unlabeled + 1,), UNUSED))

    def thresholds(self) -> Tensor:
        """Return those of all classes as they are now, `(C,)` float32.

        With sigma the number of images that are learned as each class and N that of the pool, beta
        is sigma / max(max sigma, N - sum sigma), the threshold beta / (2 - beta) of the highest.
        """
        sigma = self.learned.new_zeros(self.num_classes + 1)  # the first of UNUSED
        sigma = sigma.scatter_add_(0, self.learned - UNUSED, torch.ones_like(self.learned))[1:]
        beta = sigma / torch.maximum(sigma.max(), self.num_pool - sigma.sum())
        return self.threshold * beta / (2 - beta)

    def weigh(self, probabilities: Tensor, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        confidence, pseudo_labels = probabilities.max(1)
        thresholds = self.thresholds()
        kept = confidence >= thresholds[pseudo_labels]
        self._learn(indices, pseudo_labels, confidence >= self.threshold)
        return kept.float(), describe_thresholds(thresholds)

    def _learn(self, indices: Tensor, pseudo_labels: Tensor, sure: Tensor) -> None:
        """Note the labels of images that are sure; of one that is twice in a batch, the last.

        All others write UNUSED to the place of no image: each place is written with one value, so
        that the order of a GPU's threads is of no matter, and no shape depends on values.
        """
        again = ((indices[:, None] == indices) & sure).triu(1).any(1)
        last = sure & ~again
        places = torch.where(last, indices, len(self.learned) - 1)
        self.learned[places] = torch.where(last, pseudo_labels, UNUSED)
