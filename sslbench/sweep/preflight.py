"""What can be known to be wrong with a cell before anything trains."""

from dataclasses import replace
from pathlib import Path

from sslbench.atomic import make_writable_folder
from sslbench.cell.start import concrete_initial
from sslbench.config.settings import Data, Settings
from sslbench.data import Dataset, concrete_data, is_here, open_dataset
from sslbench.engine.schedule import Schedule, build_schedule


class Preflight:
    """Checks cells; what many cells share, such as a data set, is looked at once.

    Args:
        may_download: Otherwise data that is not here yet is taken for STL-10, and not checked.
    """

    def __init__(self, *, may_download: bool = True) -> None:
        self._may_download = may_download
        self._concrete: dict[str, Data | ValueError] = {}
        self._datasets: dict[str, Dataset] = {}

    def make_concrete(self, settings: Settings) -> Settings:
        """Settle what depends on this machine: what `data=auto` is, whose weights to start from.

        Raises:
            ValueError: If the data, the checkpoint or the output folder is not usable.
        """
        key = f"{settings.outputs} {settings.data}"
        if key not in self._concrete:
            outputs = Path(settings.outputs)
            make_writable_folder(outputs)
            try:
                self._concrete[key] = self._concrete_data(settings.data, outputs)
            except ValueError as error:  # a server that does not answer is asked once
                self._concrete[key] = error
        data = self._concrete[key]
        if isinstance(data, ValueError):
            raise data
        return concrete_initial(replace(settings, data=data))

    def _concrete_data(self, data: Data, outputs: Path) -> Data:
        return concrete_data(data, outputs) if self._may_open(data) else replace(data, name="stl10")

    def _may_open(self, data: Data) -> bool:
        return self._may_download or is_here(data)

    def dataset(self, settings: Settings) -> Dataset:
        """Open the data of concrete settings, which checks its files."""
        key = f"{settings.outputs} {settings.data}"
        if key not in self._datasets:
            self._datasets[key] = open_dataset(settings.data, Path(settings.outputs))
        return self._datasets[key]

    def schedule(self, settings: Settings) -> Schedule:
        """Return how many steps concrete settings ask for.

        Raises:
            ValueError: If there are too few unlabelled images for the ratio.
        """
        from sslbench.build import pool_indices

        dataset = self.dataset(settings)
        method = settings.method
        pool = pool_indices(settings, dataset) if method.uses_pool else []
        images = pool if method.epochs_are_of_pool else dataset.train_indices
        return build_schedule(method, len(images), settings.steps)

    def check(self, settings: Settings) -> None:
        """Check concrete settings against the data, the checkpoint and the device.

        Raises:
            ValueError: If the cell could not be trained.
        """
        import torch

        from sslbench.build import build_encoder
        from sslbench.cell.start import load_initial_encoder
        from sslbench.engine.device import choose_device

        choose_device(settings.device)
        if self._may_open(settings.data):
            self.schedule(settings)
        if settings.init_from is not None:
            with torch.device("meta"):
                encoder = build_encoder(settings.model)
            load_initial_encoder(encoder, settings)
