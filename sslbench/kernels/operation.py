"""Makes a function an operation of torch's."""

from collections.abc import Callable
from typing import Any

import torch


def operation(
    backward: Callable | None = None, setup_context: Callable | None = None
) -> Callable[[Callable], torch._ops.OpOverload]:
    """Register a function of new results as `sslbench::<its name>`, for tensors on a processor.

    torch's profiler and autograd then know it by that name. `torch.library.custom_op` does as much,
    but its first call imports torch's compiler, which takes a second.

    Args:
        backward: As `torch.library.register_autograd` takes it, as `setup_context` is. Without it
            asking for gradients is a RuntimeError.
    """

    def register(function: Callable) -> torch._ops.OpOverload:
        name = f"sslbench::{function.__name__}"

        def refuse(ctx: Any, *gradients: Any) -> None:
            raise RuntimeError(f"{name} has no gradients")

        torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, "cpu", function)
        torch.library.register_autograd(name, backward or refuse, setup_context=setup_context)
        return getattr(torch.ops.sslbench, function.__name__).default

    return register
