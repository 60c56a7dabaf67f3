"""An optimizer from outside the package, whose first step goes wrong as long as a file says so."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sslbench.config.parts import EXECUTION
from sslbench.optimizers import Adam


@dataclass
class Faulty(Adam):
    """Adam with a fault: `none`, `error`, `exit`, `death` or `nan`."""

    fault: str = "none"
    broken: str = field(default="", metadata=EXECUTION)
    """The file; its path is no part of the cell, so that a cell heals when the file is gone."""

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        optimizer = super().build(groups, device)
        if Path(self.broken).is_file():
            optimizer.register_step_pre_hook(FAULTS[self.fault])
        return optimizer


def _error(*_: Any) -> None:
    raise RuntimeError("sabotage")


def _exit(*_: Any) -> None:
    sys.exit(7)


def _death(*_: Any) -> None:
    os._exit(9)


def _nan(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimizer.param_groups:
        for weights in group["params"]:
            weights.grad.fill_(float("nan"))


FAULTS: dict[str, Callable[..., None]] = {
    "none": lambda *_: None,
    "error": _error,
    "exit": _exit,
    "death": _death,
    "nan": _nan,
}
