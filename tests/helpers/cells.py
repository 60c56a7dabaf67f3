"""Small cells: settings as the command line composes them, and cells trained from them."""

from functools import cache
from pathlib import Path

import torch
from hydra import compose as compose_in_full
from hydra import initialize_config_dir

from sslbench.cell.cell import Cell
from sslbench.cell.curves import CURVES, read_curves
from sslbench.cell.record import SETTINGS, Record
from sslbench.cell.soundness import manifest
from sslbench.config.compose import VERSION_BASE, conf_dir, register
from sslbench.config.grid import GridComposer
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


def load(overrides):
    """Compose as the command does, but for what is set locally; return all, Hydra's part too."""
    register()
    has_local = (Path(conf_dir()) / "local" / "default.yaml").exists()
    with initialize_config_dir(conf_dir(), **VERSION_BASE):
        overrides = [*overrides, *["~local"] * has_local]
        return compose_in_full("config", overrides, return_hydra_config=True)


composer = GridComposer(load)
"""Returns settings and choices; what tests choose alike is composed once, as in a sweep."""


def compose(*overrides):
    return composer([*TINY, *overrides])[0]


def make_cell(outputs, *overrides):
    settings = compose(f"outputs={outputs}", *overrides)
    return Cell(Preflight().make_concrete(settings), dict)


def train(outputs, *overrides):
    """Train a cell and return it."""
    cell = make_cell(outputs, *overrides)
    with cell.folder.locked():
        train_cell(cell)
    return cell


def curves_of(cell_folder):
    """Return the points of a cell's curves without the seconds, which are never the same."""
    points = read_curves(cell_folder.path / CURVES)
    return [{name: it for name, it in point.items() if name != "seconds"} for point in points]


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
