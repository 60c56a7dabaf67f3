"""What can be known to be wrong with a cell before anything trains."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from sslbench.cell.identity import effective_ratio
from sslbench.cell.start import concrete_initial
from sslbench.config.data import Data
from sslbench.config.parts import LABELED, UNLABELED
from sslbench.config.settings import Settings
from sslbench.data import open_dataset
from sslbench.data.protocol import divide, settle
from sslbench.data.splits import pool_size
from sslbench.engine.room import require_room_for_images
from sslbench.engine.schedule import Schedule, build_schedule
from sslbench.files.atomic import make_writable_folder
from sslbench.machine.extras import require_extra
from sslbench.machine.hardware import auto_precision, may_have_gpu
from sslbench.machine.threads import limit_pools, require_threads


class Preflight:
    """Checks cells; what many cells share, such as a data set, is looked at once.

    Args:
        may_download: Otherwise data that is not here yet is taken for what it would be.
        on_gpus_elsewhere: Whether cells are to be trained on other machines' GPUs.
    """

    def __init__(self, *, may_download: bool = True, on_gpus_elsewhere: bool = False) -> None:
        self._may_download = may_download
        self._is_elsewhere = on_gpus_elsewhere
        self._concrete: dict[str, Data | ValueError] = {}
        self._counts: dict[str, dict[str, int]] = {}

    def make_concrete(self, settings: Settings) -> Settings:
        """Settle what depends on this machine: `data=auto`, `precision=auto`, the start's weights.

        Raises:
            ValueError: If the data, the checkpoint or the output folder is not usable.
        """
        key = f"{settings.outputs} {settings.data}"
        if key not in self._concrete:
            make_writable_folder(Path(settings.outputs))
            try:
                self._concrete[key] = self._concrete_data(settings)
            except ValueError as error:  # a server that does not answer is asked once
                self._concrete[key] = error
        data = self._concrete[key]
        if isinstance(data, ValueError):
            raise data
        if settings.precision == "auto":
            if self._is_elsewhere and settings.device != "cpu" and not may_have_gpu():
                raise ValueError(
                    "precision=auto: there is no GPU here that could be asked for what those have "
                    "that the cells go to; write precision=bf16 (from Nvidia's Ampere on) or "
                    "precision=fp32"
                )
            settings = replace(settings, precision=auto_precision(settings.device))
        settings = replace(settings, data=data)
        method = settings.method.settled(
            settings.ratio, lambda: self.count_images(settings)[LABELED]
        )
        settings = replace(settings, method=method)
        return concrete_initial(replace(settings, ratio=effective_ratio(settings)))

    def _concrete_data(self, settings: Settings) -> Data:
        _limit_threads(settings)
        if self._may_open(settings.data):
            data, outputs = settings.data.concrete(Path(settings.outputs)), Path(settings.outputs)
            return settle(data, partial(data.open, outputs))
        data = settings.data.undownloaded()
        return settle(data, data.files_undownloaded)

    def _may_open(self, data: Data) -> bool:
        return self._may_download or not data.would_download()

    def count_images(self, settings: Settings) -> dict[str, int]:
        """Return the numbers of `labeled` and `unlabeled`, `val` and `test` images there are.

        Opening the data checks its files.
        """
        key = f"{settings.outputs} {settings.data}"
        if key not in self._counts:
            _limit_threads(settings)
            data = settings.data
            may_open = self._may_open(data)
            self._counts[key] = (
                open_dataset(data, Path(settings.outputs)).counts
                if may_open
                else divide(data, data.files_undownloaded()).counts
            )
        return self._counts[key]

    def schedule(self, settings: Settings) -> Schedule:
        """Return how many steps concrete settings ask for.

        Raises:
            ValueError: If there are too few unlabelled images for the ratio.
        """
        counts = self.count_images(settings)
        of_streams = {LABELED: counts[LABELED]}
        if settings.uses_pool:
            of_streams[UNLABELED] = pool_size(counts[UNLABELED], counts[LABELED], settings.ratio)
        first, *_ = settings.method.streams(settings.ratio)
        return build_schedule(settings.method, of_streams[first.of], settings.steps)

    def check(self, settings: Settings) -> None:
        """Check concrete settings against the data, the checkpoint and the device.

        Raises:
            ValueError: If the cell could not be trained.
        """
        if settings.device not in ("auto", "cpu") and not self._is_elsewhere:
            from sslbench.engine.device import choose_device

            choose_device(settings.device)
        require_threads(settings.threads)
        settings.model.require_buildable(settings.data.side)
        if settings.tracking.name == "tensorboard":
            require_extra("tracking=tensorboard", "tensorboard", "tensorboard")
        require_room_for_images(settings)
        self.schedule(settings)
        if settings.init_from is not None:
            import torch

            from sslbench.cell.start import load_initial_encoder

            with torch.random.fork_rng(devices=[]):
                encoder = settings.model.build(settings.data.side)
            load_initial_encoder(encoder, settings)


def _limit_threads(settings: Settings) -> None:
    """Keep to the threads that were typed: opening data, which hashes it, uses them first."""
    if settings.threads is not None:
        limit_pools(settings.threads)
