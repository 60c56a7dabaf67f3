"""All that a cell trains with, on its device."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from sslbench.augment.views import PlainView, RandomView
from sslbench.config.parts import UNLABELED
from sslbench.config.settings import RUNNING, Settings
from sslbench.data import Dataset
from sslbench.data.device import Images
from sslbench.data.feed import Feed
from sslbench.engine.means import Tally
from sslbench.engine.schedule import Schedule
from sslbench.engine.step import CapturedStep, EagerStep
from sslbench.interfaces import MethodModule


@dataclass(frozen=True)
class Training:
    """The parts that the settings name, built."""

    settings: Settings
    device: torch.device
    precision: str
    autocast: Callable[[], AbstractContextManager]
    dataset: Dataset
    images: Images
    views: dict[str, RandomView]
    plain_view: PlainView
    method: MethodModule
    optimizer: torch.optim.Optimizer
    feed: Feed
    schedule: Schedule
    tally: Tally
    """What the steps taken add up to."""
    rate: Callable[[int], float]
    """The learning rate of step 0 and so on."""
    take_step: EagerStep | CapturedStep

    @property
    def notes(self) -> list[str]:
        """What readers of results must know of the images, and of settings that do not suit."""
        settings, num_steps = self.settings, self.schedule.total_steps
        lines = self.dataset.notes + settings.contradictions()
        lines += settings.method.too_slow(num_steps)
        if settings.bn_statistics == RUNNING:
            lines += settings.model.too_slow(num_steps)
        for source in self.feed.sources:  # labelled images are often fewer, as in FixMatch's tables
            if source.name == UNLABELED and source.batch_size > source.num_images:
                lines.append(
                    f"each step takes {source.batch_size:,} unlabelled images, of which there are "
                    f"{source.num_images:,}: some come more than once; a larger ratio has more"
                )
        return lines
