"""An optimizer from outside the package that notes how many threads its process's pools have."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

from sslbench.config.parts import EXECUTION
from sslbench.optimizers.torch_optimizers import Adam


@dataclass
class Watched(Adam):
    """Adam; after each step `file` holds the numbers, as JSON."""

    file: str = field(default="", metadata=EXECUTION)

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        optimizer = super().build(groups, device)
        optimizer.register_step_post_hook(lambda *_: self._note())
        return optimizer

    def _note(self) -> None:
        numbers = [pool["num_threads"] for pool in threadpool_info()]
        numbers += [torch.get_num_threads(), torch.get_num_interop_threads()]
        Path(self.file).write_text(json.dumps(numbers))
