"""Batch normalisation together with the activation after it and additions around it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.kernels.batch_norm import batch_norm_act, can_take, normalize_act


class BatchNormAct(nn.BatchNorm2d):
    """BatchNorm2d, then LeakyReLU: `negative_slope` 0 is ReLU, 1 none.

    Parameters, buffers and their names are BatchNorm2d's. On a processor all is one operation,
    which goes over memory half as often; elsewhere, and for gradients in evaluation mode, they are
    torch's.
    """

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, negative_slope: float = 1.0
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of normalised `x`, `(B, C, H, W)`."""
        return self._normalize(x, None, None)[1]

    def of_sum(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x + before`, `(B, C, H, W)` each, and the activation of it normalised."""
        return self._normalize(x, before, None)

    def plus(self, x: Tensor, after: Tensor) -> Tensor:
        """Return the activation of (normalised `x`) + `after`, `(B, C, H, W)` each."""
        return self._normalize(x, None, after)[1]

    def _normalize(
        self, x: Tensor, before: Tensor | None, after: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        parameters, statistics = (self.weight, self.bias), (self.running_mean, self.running_var)
        wants_gradient = torch.is_grad_enabled() and not self.training
        if wants_gradient or not can_take(x, (*parameters, *statistics), before, after):
            return self._normalize_by_torch(x, before, after)
        if not self.training:
            return normalize_act(
                x, before, after, *parameters, *statistics, self.eps, self.negative_slope
            )
        joined, y, mean, variance = batch_norm_act(
            x, before, after, *parameters, self.eps, self.negative_slope
        )
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return joined, y

    def _normalize_by_torch(
        self, x: Tensor, before: Tensor | None, after: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        joined = x if before is None else x + before
        z = super().forward(joined)
        if after is not None:
            z.add_(after)
        if self.negative_slope == 0:
            return joined, F.relu_(z)
        return joined, z if self.negative_slope == 1 else F.leaky_relu_(z, self.negative_slope)
