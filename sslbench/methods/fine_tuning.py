"""A classifier whose encoder stays as it is, or learns at rates of its own."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

from torch import nn

from sslbench.methods.classifier import Classifier


class FineTunedClassifier(Classifier):
    """Learns as a `Classifier` does.

    Args:
        freeze: Whether the head alone learns; the encoder is in eval mode then.
        head_lr_scale: Times the learning rate for the head.
        layer_decay: A layer of the encoder has the rate of the one above it times this.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        label_smoothing: float = 0.0,
        *,
        freeze: bool,
        head_lr_scale: float,
        layer_decay: float,
    ) -> None:
        super().__init__(encoder, num_classes, label_smoothing)
        self.freeze, self.head_lr_scale, self.layer_decay = freeze, head_lr_scale, layer_decay
        if freeze:
            encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Keep a frozen encoder in eval mode, as its BatchNorm statistics would move."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the head, and the encoder's layers with the share of the rate that each has."""
        groups = [{"params": [*self.head.parameters()], "lr_scale": self.head_lr_scale}]
        for depth, layer in enumerate(reversed(layers_of(self.encoder)), start=1):
            groups.append({"params": layer, "lr_scale": self.layer_decay**depth})
        return groups


def layers_of(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """Return an encoder's parameters that learn, by layer, from the images upwards.

    A layer is an entry of a stack, such as a residual or a transformer block, or what stands beside
    stacks, such as the stem. Parameters of the encoder itself, such as position embeddings, are the
    first layer's.
    """
    layers = [_learning(layer) for layer in _unstacked(encoder)]
    known = {id(weights) for layer in layers for weights in layer}
    own = [weights for weights in _learning(encoder) if id(weights) not in known]
    first, *others = [layer for layer in layers if layer] or [[]]
    return [layer for layer in ([*own, *first], *others) if layer]


def _learning(module: nn.Module) -> list[nn.Parameter]:
    return [weights for weights in module.parameters() if weights.requires_grad]


def _unstacked(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if _is_stack(child) or any(_is_stack(each) for each in child.children()):
            yield from _unstacked(child)
        else:
            yield child


def _is_stack(module: nn.Module) -> bool:
    """Whether a module is a row of layers: stages, blocks of a kind, or an encoder of one piece."""
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    own = [child for child in module if any(True for _ in child.parameters())]
    return any(type(one) is type(other) for one, other in pairwise(own))
