"""Supervised learning (paper, table 1). Its module is imported late: it is the default method."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslbench.config.parts import LABELED, Method, Sizes, Stream

if TYPE_CHECKING:
    from torch import nn

    from sslbench.config.parts import Ratio
    from sslbench.interfaces import MethodModule


@dataclass
class Supervised(Method):
    """Cross-entropy on the labelled images."""

    name: str = "supervised"

    def streams(self, ratio: "Ratio") -> list[Stream]:
        return [Stream(LABELED, {"view": "view_a"}, self.batch_size)]

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        from sslbench.methods.classifier import Classifier

        return Classifier(encoder, sizes.num_classes)
