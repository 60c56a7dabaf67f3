"""A pretended GPU that is too small for two cells: the CPU, in processes that cells are trained in.

Importing this pretends it; the optimizer, a part from outside, runs out of its memory.
"""

import multiprocessing
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch

from sslbench.cell.record import load_record
from sslbench.config.parts import EXECUTION
from sslbench.optimizers.torch_optimizers import Adam

LOOKS_SECONDS = 1.2
"""Long enough for a cell that waits for a place to look for one twice."""


@dataclass
class Crowded(Adam):
    """Adam; of two cells that are built at a time, the second one has no memory on the GPU.

    In `folder` they note who is there, and how many cells were done when the second one came again.
    """

    folder: str = field(default="", metadata=EXECUTION)

    def build(self, groups: list[dict], device: torch.device) -> torch.optim.Optimizer:
        folder = Path(self.folder)
        number = 1 + sum((folder / f"there-{n}").exists() for n in (1, 2))
        (folder / f"there-{number}").touch()
        if number == 1:
            while not (folder / "there-2").exists():
                time.sleep(0.02)
            time.sleep(LOOKS_SECONDS)
        if number == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if number == 3:
            found = [load_record(path) for path in (folder / "outputs" / "cells").glob("*/")]
            done = [record for record in found if record is not None and record.status == "done"]
            (folder / "done-before").write_text(str(len(done)))
        return super().build(groups, device)


if multiprocessing.parent_process() is not None:
    from sslbench import build
    from sslbench.engine import device

    answers = [True]  # for where a place is taken; what computes is the CPU
    torch.cuda.is_available = lambda: bool(answers) and answers.pop()
    torch.cuda.device_count = lambda: 1
    uuid = f"pretended-{os.getsid(0)}-{os.getpgrp()}"
    torch.cuda.get_device_properties = lambda _: SimpleNamespace(uuid=uuid)
    build.choose_device = device.choose_device = lambda _: torch.device("cpu")
