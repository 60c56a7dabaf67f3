"""What can be known to be wrong with a cell before anything trains."""

from dataclasses import replace
from pathlib import Path

from sslbench.cell.identity import effective_ratio
from sslbench.cell.start import concrete_initial
from sslbench.config.parts import IMAGE_SIDE, LABELED, UNLABELED
from sslbench.config.settings import Data, Settings
from sslbench.data import concrete_data, count_images, is_here, open_dataset
from sslbench.data.splits import pool_size
from sslbench.engine.room import require_room_for_images
from sslbench.engine.schedule import Schedule, build_schedule
from sslbench.files.atomic import make_writable_folder
from sslbench.machine.extras import require_extra
from sslbench.machine.hardware import auto_precision
from sslbench.machine.threads import limit_pools, require_threads


class Preflight:
    """Checks cells; what many cells share, such as a data set, is looked at once.

    Args:
        may_download: Otherwise data that is not here yet is taken for STL-10, and not checked.
    """

    def __init__(self, *, may_download: bool = True) -> None:
        self._may_download = may_download
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
            settings = replace(settings, precision=auto_precision(settings.device))
        ratio = effective_ratio(settings)
        return concrete_initial(replace(settings, data=data, ratio=ratio))

    def _concrete_data(self, settings: Settings) -> Data:
        _limit_threads(settings)
        if self._may_open(settings.data):
            return concrete_data(settings.data, Path(settings.outputs))
        return replace(settings.data, name="stl10")

    def _may_open(self, data: Data) -> bool:
        return self._may_download or is_here(data) or not data.download

    def count_images(self, settings: Settings) -> dict[str, int]:
        """Return the numbers of `labeled` and `unlabeled`, `val` and `test` images there are.

        Opening the data checks its files. STL-10's are known where it is not here.
        """
        key = f"{settings.outputs} {settings.data}"
        if key not in self._counts:
            _limit_threads(settings)
            data = settings.data
            opened = open_dataset(data, Path(settings.outputs)) if self._may_open(data) else None
            self._counts[key] = count_images(data, opened)
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
        if settings.device not in ("auto", "cpu"):
            from sslbench.engine.device import choose_device

            choose_device(settings.device)
        require_threads(settings.threads)
        settings.model.require_buildable(IMAGE_SIDE)
        if settings.tracking.name == "tensorboard":
            require_extra("tracking=tensorboard", "tensorboard", "tensorboard")
        require_room_for_images(settings)
        self.schedule(settings)
        if settings.init_from is not None:
            import torch

            from sslbench.cell.start import load_initial_encoder

            with torch.random.fork_rng(devices=[]):
                encoder = settings.model.build()
            load_initial_encoder(encoder, settings)


def _limit_threads(settings: Settings) -> None:
    """Keep to the threads that were typed: opening data, which hashes it, uses them first."""
    if settings.threads is not None:
        limit_pools(settings.threads)
