"""What training takes: floating-point operations, and the memory of layers' outputs."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sslbench.config.parts import Model

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sslbench.interfaces import Batch, MethodModule

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


def count_step(method: "MethodModule", batch: "Batch") -> int:
    """Count the floating-point operations of a step's forward and backward pass.

    Those of convolutions and matrix products as they are defined, a multiplication and an addition
    being two; what views and the optimizer take is left out. Nothing is computed, and the count is
    the same on each device: it is made with tensors without values that pass for a CPU's.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    method = copy.deepcopy(method).train()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _count_step(method, batch, _empty_like)
    except Exception:  # of a method that looks at values, say
        return _count_step(method, batch, lambda tensor: tensor)


def _count_step(
    method: "MethodModule", batch: "Batch", replace: Callable[["Tensor"], "Tensor"]
) -> int:
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    state = [*method.named_parameters(), *method.named_buffers()]
    weights = {name: replace(tensor) for name, tensor in state}
    views = {name: replace(tensor) for name, tensor in batch.items()}
    with FlopCounterMode(display=False) as counter:
        functional_call(method, weights, (views,)).loss.backward()
    return counter.get_total_flops()


def _empty_like(tensor: "Tensor") -> "Tensor":
    import torch

    return torch.empty(tensor.shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)
