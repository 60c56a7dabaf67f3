"""torch's optimizers, without what only its compiler needs."""

import inspect
from functools import cache

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


@cache
def without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """Return this kind of optimizer as one that does not import torch's compiler.

    Methods that all of torch's optimizers share keep the compiler from tracing them, and import it
    for that, which takes a second of each process. After this call they no longer do either, in the
    whole process, which so must not compile a step. Steps and states are the same; `differentiable`
    is not heeded.
    """
    for member in vars(Optimizer).values():
        function = getattr(member, "__wrapped__", None)
        if function is not None:
            function.__dict__.setdefault("__dynamo_disable", function)  # what torch looks for
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"step": step})
