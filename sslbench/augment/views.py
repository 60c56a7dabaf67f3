"""Views of images: random ones to learn from, the plain one to evaluate on.

A random view draws its parameters apart from applying them, on the CPU, so that every device sees
the same views and a resumed run the same as an uninterrupted one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sslbench.augment import ops
from sslbench.config.parts import Operation, Params

ViewParams = dict[str, Params]
"""What is drawn for n images by each operation, `applied` (n,) bool among it."""


@dataclass(frozen=True, eq=False)
class PlainView:
    """Images as they are, normalised by `mean` and `std`.

    These are (3,) on the scale 0 to 1, on the images' device.
    """

    mean: Tensor
    std: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """(n, 3, side, side) uint8 of any strides to float32 in channels_last format."""
        return ops.normalize(images.float() / 255, self.mean, self.std)


class RandomView:
    """Operations one after the other, drawn anew for each image. `mean`, `std`: as in PlainView."""

    def __init__(self, operations: dict[str, Operation], mean: Tensor, std: Tensor) -> None:
        self.operations = {name: each for name, each in operations.items() if each.p > 0}
        self.mean = mean
        self.std = std

    def sample(self, generator_of: Callable[[str], Generator], n: int, side: int) -> ViewParams:
        """Draw the parameters of n images, on the CPU.

        `generator_of` returns the generator of an operation by its name: what one draws does not
        depend on which others there are.
        """
        drawn = {}
        for name, operation in self.operations.items():
            generator = generator_of(name)
            applied = torch.rand(n, generator=generator) < operation.p
            drawn[name] = {"applied": applied, **operation.sample(generator, n, side)}
        return drawn

    def apply(self, images: Tensor, params: ViewParams) -> Tensor:
        """(n, 3, side, side) uint8 of any strides to float32 in channels_last format.

        Call it outside autocast.
        """
        images = images.float() / 255
        for name, operation in self.operations.items():
            images = _apply_where_drawn(operation, images, dict(params[name]))
        return ops.normalize(images, self.mean, self.std)

    def shares(self, params: ViewParams) -> Tensor | None:
        """Return what is left of each image where they are mixed, (n,) float32 from 0 to 1.

        The rest is of the image before it. None where none are ever mixed.
        """
        for name, operation in self.operations.items():
            if operation.mixes:
                return torch.where(params[name]["applied"], params[name]["shares"], 1.0)
        return None


def _apply_where_drawn(operation: Operation, images: Tensor, params: Params) -> Tensor:
    applied = params.pop("applied")
    if operation.p == 1:
        return operation.apply(images, params).contiguous()
    if operation.mixes:  # it needs its partners beside those that it is applied to
        return torch.where(applied[:, None, None, None], operation.apply(images, params), images)
    return ops.change_where(applied, operation.apply, images, params)
