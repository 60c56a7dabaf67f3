"""One training step: from a draw to updated weights."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from sslbench.batches import Draw, Feed


class EagerStep:
    """Assemble the batch, then forward, backward and optimizer, operation by operation."""

    def __init__(
        self,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        feed: Feed,
        autocast: Callable[[], AbstractContextManager],
        clip_grad_norm: float,
    ) -> None:
        self._method = method
        self._optimizer = optimizer
        self._feed = feed
        self._autocast = autocast
        self._clip_grad_norm = clip_grad_norm

    def __call__(self, draw: Draw) -> dict[str, Tensor]:
        """Take a step and return its metrics, `loss` among them, as tensors on the device."""
        batch = self._feed.assemble(self._feed.to_device(draw))
        with self._autocast():
            loss, metrics = self._method(batch)
        loss.backward()
        if self._clip_grad_norm > 0:
            nn.utils.clip_grad_norm_(self._method.parameters(), self._clip_grad_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return {"loss": loss.detach(), **metrics}
