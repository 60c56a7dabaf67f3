"""How a cell fares on the validation images while it trains."""

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sslbench.augment.views import ViewParams
from sslbench.engine.training import Training
from sslbench.evaluate.bn_statistics import evaluation_statistics
from sslbench.evaluate.cell import (
    batches_of,
    draw_view,
    evaluate,
    find_collapse,
    find_one_class,
    rows_of,
)

log = logging.getLogger(__name__)


class Validation:
    """Validates a method again and again: what it draws and says once it keeps."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._drawn: dict[str, ViewParams] = {}
        self._said_collapse = False

    def __call__(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return validation metrics: `accuracy`, `loss` and what the method adds.

        Args:
            means: Of the training steps since the validation before.
        """
        with evaluation_statistics(self._training):
            result = evaluate(self._training, ("val",))["val"]
            more = self._training.method.validation_metrics(self.view_accuracy)
        collapse = find_collapse(result, self._training.dataset.files.class_names)
        collapse = collapse or find_one_class(self._training, means)
        if collapse is not None and not self._said_collapse:
            self._said_collapse = True
            log.warning("collapsed for now: %s", collapse)
        return {"accuracy": result.score.accuracy, "loss": result.score.loss, **more}

    @torch.inference_mode()
    def view_accuracy(self, logits: Callable[[Tensor], Tensor], view: str) -> float:
        """Return the share of validation images that `logits` of a random view get right.

        The views are the same each time.
        """
        training, split = self._training, self._training.images.val
        drawn = self._draw_once(view)
        labels = torch.from_numpy(split.labels).to(training.device)
        correct = torch.zeros((), dtype=torch.int64, device=training.device)
        for rows, images in batches_of(training, split):
            views = training.views[view].apply(images, rows_of(drawn, rows))
            with training.autocast():
                correct += (logits(views).argmax(1) == labels[rows]).sum()
        return correct.item() / len(split)

    def _draw_once(self, view: str) -> ViewParams:
        """Return what a view draws for all validation images, on the device."""
        if view not in self._drawn:
            training, split = self._training, self._training.images.val
            self._drawn[view] = draw_view(training, split, view, "validation")
        return self._drawn[view]
