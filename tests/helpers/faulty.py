"""An optimizer from outside the package, whose first step goes wrong as long as a file says so."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sslbench.config.parts import EXECUTION
from sslbench.optimizers.torch_optimizers import Adam


@dataclass
class Faulty(Adam):
    """Adam with a fault: `none`, `error`, `exit` or `death`."""

    fault: str = "none"
    broken: str = field(default="", metadata=EXECUTION)
    """The file; its path is no part of the cell, so that a cell heals when the file is gone."""

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        optimizer = super().build(groups, device)
        if Path(self.broken).is_file():
            optimizer.register_step_pre_hook(lambda *_: go_wrong(self.fault))
        return optimizer


def go_wrong(fault: str) -> None:
    if fault == "error":
        raise RuntimeError("sabotage")
    if fault == "exit":
        sys.exit(7)
    if fault == "death":
        os._exit(9)
