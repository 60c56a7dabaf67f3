"""What can be known to be wrong with a cell before anything trains."""

from dataclasses import replace
from pathlib import Path

from sslbench.config.settings import Settings
from sslbench.data import concrete_data
from sslbench.files import make_writable_folder
from sslbench.initial import concrete_initial


def make_concrete(settings: Settings) -> Settings:
    """Settle what depends on this machine: which data set `auto` is, whose weights to start from.

    Raises:
        ValueError: If the data, the checkpoint or the output folder is not usable.
    """
    make_writable_folder(Path(settings.outputs))
    data = concrete_data(settings.data, Path(settings.outputs))
    return concrete_initial(replace(settings, data=data))


def check(settings: Settings) -> None:
    """Check concrete settings against the data, the checkpoint and the device.

    Raises:
        ValueError: If the cell could not be trained.
    """
    import torch

    from sslbench.build import build_encoder, pool_indices
    from sslbench.data import open_dataset
    from sslbench.hardware import choose_device
    from sslbench.initial import load_initial_encoder

    choose_device(settings.device)
    dataset = open_dataset(settings.data, Path(settings.outputs))
    if settings.method.name != "supervised":
        pool_indices(settings, dataset)
    if settings.init_from is not None:
        with torch.device("meta"):
            encoder = build_encoder(settings.model)
        load_initial_encoder(encoder, settings)
