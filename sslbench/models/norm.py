"""Batch normalisation together with the activation that follows it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.kernels.batch_norm import batch_norm_act, can_take


class BatchNormAct(nn.BatchNorm2d):
    """BatchNorm2d, then LeakyReLU: `negative_slope` 0 is ReLU, 1 none.

    Parameters, buffers and their names are BatchNorm2d's. In training mode on a processor both are
    one operation, which goes over memory half as often; elsewhere they are torch's two.
    """

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, negative_slope: float = 1.0
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and can_take(x)):
            z = super().forward(x)
            return z if self.negative_slope == 1 else F.leaky_relu_(z, self.negative_slope)
        y, mean, variance = batch_norm_act(x, self.weight, self.bias, self.eps, self.negative_slope)
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return y
