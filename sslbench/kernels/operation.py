"""Makes a function an operation of torch's."""

from collections.abc import Callable

import torch


def operation(function: Callable) -> torch._ops.OpOverload:
    """Register a function of new results as `sslbench::<its name>`, for tensors on a processor.

    torch's profiler and autograd then know it by that name. `torch.library.custom_op` does the
    same, but its first call imports torch's compiler, which takes a second.
    """
    name = f"sslbench::{function.__name__}"
    torch.library.define(name, torch.library.infer_schema(function, mutates_args=()))
    torch.library.impl(name, "cpu", function)
    return getattr(torch.ops.sslbench, function.__name__).default
