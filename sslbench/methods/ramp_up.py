"""The weight of an unlabelled loss at the beginning, when predictions say little."""

import torch
from torch import Tensor, nn


class RampUp(nn.Module):
    """exp(-5 (1 - t)^2) of the share t of `num_steps` that is over (Laine and Aila 2017); 1 if 0.

    The step counts on the device, so that a captured one does.
    """

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.register_buffer("step", torch.tensor(0))

    def forward(self) -> Tensor:
        """Return the weight of the current step, a float32 scalar."""
        if self.num_steps == 0:
            return torch.ones_like(self.step, dtype=torch.float32)
        share = (self.step / self.num_steps).clamp_max(1)
        return (-5 * (1 - share).square()).exp()

    def advance(self) -> None:
        """Go on to the next step."""
        self.step += 1
