"""What a step of an encoder takes: its multiplications, and the memory of its layers' outputs."""

from typing import TYPE_CHECKING, NamedTuple

from sslbench.config.parts import Model

if TYPE_CHECKING:
    from torch import nn

PASSES_PER_STEP = 3
"""Forward, and twice that backward."""
COPIES_OF_WEIGHTS = 4
"""Themselves, their gradient, and Adam's two moments."""


class Work(NamedTuple):
    """The `flops` and the `outputs` of an encoder's layers for one image, and its `weights`."""

    flops: int
    outputs: int
    weights: int

    def step_bytes(self, num_views: int, *, bf16: bool) -> int:
        """Return the memory at the peak of a step, beside that of the process itself.

        What is kept for each output was measured as 0.9 to 1.2 times it.
        """
        return 4 * COPIES_OF_WEIGHTS * self.weights + (2 if bf16 else 4) * self.outputs * num_views


def count_work(model: Model, side: int) -> Work:
    """Count the work of an encoder on images of `side` pixels."""
    import torch

    try:
        with torch.device("meta"):  # where nothing is drawn or computed
            return count_layers(model.build(side), side)
    except Exception:  # of an encoder that looks at its weights, say
        return count_layers(model.build(side), side)


def count_layers(encoder: "nn.Module", side: int) -> Work:
    """Count on the device where an encoder is; on `meta` nothing is computed."""
    import torch
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode

    sizes = []
    for module in encoder.eval().modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *passed: sizes.extend(tree_leaves(passed[-1])))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, 3, side, side))
    outputs = sum(each.numel() for each in sizes if isinstance(each, torch.Tensor))
    weights = sum(each.numel() for each in encoder.parameters())
    return Work(counter.get_total_flops(), outputs, weights)
