"""torch's optimizers, without what only its compiler needs."""

import inspect

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


def without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """Return an optimizer of this kind that does not import torch's compiler.

    Methods of torch's optimizers keep the compiler from tracing them, and import it for that, which
    takes a second of each process. Steps and states are the same; it is not for compiled steps.
    """
    for member in vars(Optimizer).values():
        function = getattr(member, "__wrapped__", None)
        if function is not None:
            function.__dict__.setdefault("__dynamo_disable", function)  # what torch looks for
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"step": step})
