"""What a method's metrics come to over many steps, summed on the device."""

from typing import Any

import torch
from torch import Tensor

WINDOW, EPOCH = 0, 1
"""Steps since the last point of the training curve, and since the last validation."""


class Tally:
    """Counts steps as they are taken: their means, and the first whose loss was not finite.

    A captured step holds `add`: tensors here keep their addresses.
    """

    def __init__(self, device: torch.device) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        """(2, number of metrics + 1) float64, of WINDOW and EPOCH; last the number of steps."""
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Add the scalar metrics of a step, `loss` among them, the same ones at each step.

        Does not wait for the device.
        """
        values = torch.stack([*metrics.values(), torch.ones_like(metrics["loss"])]).double()
        if self._sums is None:
            self._names, self._sums = list(metrics), torch.zeros_like(values).repeat(2, 1)
        assert self._names == list(metrics), "the metrics of all steps have the same names"
        self._sums += values
        is_first = ~torch.isfinite(metrics["loss"]) & (self._first_bad < 0)
        self._first_bad.copy_(torch.where(is_first, self._step, self._first_bad))
        self._step += 1

    def take(self, since: int) -> tuple[dict[str, float], int]:
        """Return means since WINDOW or EPOCH, and of how many steps; that begins anew."""
        *sums, count = self._sums[since].tolist()
        self._sums[since].zero_()
        return {name: it / count for name, it in zip(self._names, sums, strict=True)}, int(count)

    def first_bad(self) -> int | None:
        """Return the first step whose loss was infinite or NaN. Waits for the device."""
        step = int(self._first_bad)
        return None if step < 0 else step

    def state_dict(self) -> dict[str, Any]:
        return {"step": self._step, "names": self._names, "sums": self._sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._step.copy_(state["step"])
        self._names, self._sums = state["names"], state["sums"].to(self._step.device)
