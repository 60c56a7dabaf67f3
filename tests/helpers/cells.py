"""Small cells: settings as the command line composes them, and cells trained from them."""

from functools import cache
from pathlib import Path

import torch

from sslbench.cell.cell import Cell
from sslbench.cell.record import SETTINGS, Record
from sslbench.cell.soundness import manifest
from sslbench.config.compose import compose_settings, conf_dir
from sslbench.config.parts import LABELED
from sslbench.files.checksums import read_sealed
from sslbench.sweep.preflight import Preflight
from sslbench.sweep.training import train_cell

CPU = torch.device("cpu")
TINY = ("data=digits", "tracking=off", "threads=1", "method.batch_size=8", "log_every=2")
SMALL = "model.channels=8"
"""Of the default model."""


LIBRARIES = ("timm", "torchvision")
"""Choices of a model that need a name."""


def choices(group):
    """Return the choices of a config group, those that a user has added among them."""
    found = sorted(path.stem for path in (Path(conf_dir()) / group).glob("*.yaml"))
    return [choice for choice in found if choice not in LIBRARIES]


@cache
def small_batches(method):
    """Return what else a method needs for small batches, as overrides."""
    has_more = hasattr(compose(f"method={method}").method, "unlabeled_batch_size")
    return ["method.unlabeled_batch_size=8"] * has_more


def compose(*overrides):
    return compose_settings([*TINY, *overrides])


def make_cell(outputs, *overrides):
    settings = compose(f"outputs={outputs}", *overrides)
    return Cell(Preflight().make_concrete(settings), dict)


def train(outputs, *overrides):
    """Train a cell and return it."""
    cell = make_cell(outputs, *overrides)
    with cell.folder.locked():
        train_cell(cell)
    return cell


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_bytes(n, seed=0):
    return torch.randint(0, 256, (n, 3, 96, 96), dtype=torch.uint8, generator=generator(seed))


def noise_batch(settings, n=4):
    """Return a batch of the views that a method asks for, of noise."""
    batch = {}
    for stream in settings.method.streams(settings.ratio):
        for name in stream.views:
            batch[name] = torch.randn(n, 3, 96, 96, generator=generator(len(batch)))
        batch[f"{stream.of}_indices"] = torch.arange(n)
        if stream.of == LABELED:
            batch["labels"] = torch.arange(n) % 10
    return batch


def save_record(folder, status, **more):
    """Write the record of a cell that was asked for, and a file for which it vouches."""
    (folder / "best.pt").touch()
    record = Record(folder.name, status, **read_sealed(folder / SETTINGS), **more)
    record.files = manifest(folder)
    record.save(folder)
