"""Averaged weights: an exponential moving average follows those that learn."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sslbench.interfaces import (
    Batch,
    EmbedTrain,
    LabeledEmbeddings,
    MethodModule,
    Step,
    ViewAccuracy,
)

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(module: Module) -> Module:
    """Return a copy whose weights do not learn."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def move_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move averaged weights towards the current ones by 1 - decay; buffers stay.

    torch's AveragedModel waits for the device, to see whether it is its first time.
    """
    get_ema_multi_avg_fn(decay)([*average.parameters()], [*current.parameters()], 0)


class Averaged(MethodModule):
    """Learns as the method in it does; evaluated is that method with averaged weights."""

    def __init__(self, method: MethodModule, decay: float) -> None:
        super().__init__()
        self.method, self.average, self.decay = method, frozen_copy(method), decay

    @property
    def encoder(self) -> nn.Module:
        """The encoder that learns."""
        return self.method.encoder

    def forward(self, batch: Batch) -> Step:
        return self.method(batch)

    def param_groups(self) -> list[dict[str, Any]]:
        return self.method.param_groups()

    def after_step(self) -> None:
        self.method.after_step()
        move_average(self.average, self.method, self.decay)
        # The average sees no batch: it has no statistics for BatchNorm of its own.
        for old, buffer in zip(self.average.buffers(), self.method.buffers(), strict=True):
            old.copy_(buffer)

    def validation_metrics(self, view_accuracy: ViewAccuracy) -> dict[str, float]:
        """Return those of the weights that learn: they make the pseudo-labels."""
        return self.method.validation_metrics(view_accuracy)

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.average.evaluated_encoder

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        return self.average.classifier(embed_train)

    def evaluations(
        self, train: LabeledEmbeddings, splits: dict[str, LabeledEmbeddings]
    ) -> dict[str, dict[str, float]]:
        return self.average.evaluations(train, splits)
