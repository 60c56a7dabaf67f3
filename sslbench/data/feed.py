"""From a step's number to its batch: which images, and which views of them.

Drawing (on the CPU, a few numbers per image) is apart from assembling (on the images' device), so
that a step can be resumed, repeated or captured. It is done for a block of steps at once: most of
what a draw of a hundred images costs is the same for thousands.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from sslbench.augment.views import RandomView
from sslbench.data.device import ImageStore
from sslbench.interfaces import Batch
from sslbench.randomness import generator

BLOCK_STEPS, BLOCK_IMAGES = 64, 16_384
"""The most steps in a block, and about how many images."""
Draw = dict[str, Any]
"""Tensors in nested dicts, whose names, shapes and dtypes are the same at each step: by source
`indices`, `labels` where it has any, and `views`, what each view has drawn. That of a block has a
further dimension, of its steps, before all others."""


def map_tensors(function: Callable[..., Any], *draws: Draw) -> Draw:
    """Apply a function to the tensors that stand in the same place of draws."""
    first = draws[0]
    return {
        name: map_tensors(function, *(draw[name] for draw in draws))
        if isinstance(first[name], dict)
        else function(*(draw[name] for draw in draws))
        for name in first
    }


@dataclass(eq=False)
class IndexStream:
    """An endless stream over `num_images` positions: one seeded permutation after the other."""

    num_images: int
    batch_size: int
    seed: int
    purpose: str

    def __post_init__(self) -> None:
        assert self.num_images > 0, "a stream needs images"
        self._permutation = lru_cache(maxsize=2)(self._draw_permutation)

    def _draw_permutation(self, epoch: int) -> Tensor:
        return torch.randperm(self.num_images, generator=generator(self.seed, self.purpose, epoch))

    def at(self, step: int, num_steps: int = 1) -> Tensor:
        """Return the `(num_steps, batch_size)` int64 positions of the steps from `step` on.

        Batches may span two epochs.
        """
        start = step * self.batch_size
        parts, missing = [], num_steps * self.batch_size
        while missing > 0:
            epoch, offset = divmod(start, self.num_images)
            part = self._permutation(epoch)[offset : offset + missing]
            parts.append(part)
            start, missing = start + len(part), missing - len(part)
        return torch.cat(parts).view(num_steps, self.batch_size)


@dataclass(eq=False)
class Source:
    """One stream of images, the views drawn of each, and their labels where they have any."""

    store: ImageStore
    indices: np.ndarray
    views: Mapping[str, RandomView]
    _: KW_ONLY
    batch_size: int
    seed: int
    name: str
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.num_images = len(self.indices)
        self._indices = torch.from_numpy(self.indices)
        purpose = f"{self.name}/order"
        self._stream = IndexStream(self.num_images, self.batch_size, self.seed, purpose)
        self._labels = None if self.labels is None else torch.from_numpy(self.labels)
        if self._labels is not None:
            assert self._labels[self._indices].min() >= 0, "a source of labelled images"

    def draw_block(self, number: int, num_steps: int) -> Draw:
        """Draw the block of this number, of so many steps."""
        indices = self._indices[self._stream.at(number * num_steps, num_steps)]
        draw: Draw = {"indices": indices}
        if self._labels is not None:
            draw["labels"] = self._labels[indices]
        draw["views"] = {name: self._draw_view(name, number, num_steps) for name in self.views}
        return draw

    def _draw_view(self, name: str, number: int, num_steps: int) -> Draw:
        def generator_of(operation: str) -> Generator:
            return generator(self.seed, f"{self.name}/{name}/{operation}", number)

        num_images = num_steps * self.batch_size
        drawn = self.views[name].sample(generator_of, num_images, self.store.side)
        return map_tensors(lambda it: it.unflatten(0, (num_steps, -1)), drawn)

    def assemble(self, draw: Draw) -> Batch:
        images = self.store.take(draw["indices"])
        batch = {}
        for name, view in self.views.items():
            batch[name] = view.apply(images, draw["views"][name])
            if (shares := view.shares(draw["views"][name])) is not None:
                batch[f"{name}_shares"] = shares
        batch[f"{self.name}_indices"] = draw["indices"]
        if self._labels is not None:
            batch["labels"] = draw["labels"]
        return batch


class Feed:
    """The batches of a method: `draw` a step's random numbers, then `assemble` its batch.

    What a step draws depends on the seed and the step alone, not on which was drawn before it.
    """

    def __init__(self, sources: Sequence[Source], device: torch.device) -> None:
        self.sources = sources
        self.device = device
        self.batch_sizes: Counter[str] = Counter()
        for source in sources:
            self.batch_sizes[source.name] += source.batch_size
        self.images_per_step = self.batch_sizes.total()
        self.resident = all(source.store.resident for source in sources)
        self.block_steps = min(BLOCK_STEPS, max(1, BLOCK_IMAGES // self.images_per_step))
        self._rows = lru_cache(maxsize=1)(self._draw_rows)

    def draw_block(self, number: int) -> Draw:
        """Draw `block_steps` steps, the first of which is `number * block_steps`."""
        sources = self.sources
        return {source.name: source.draw_block(number, self.block_steps) for source in sources}

    def draw(self, step: int) -> Draw:
        number, row = divmod(step, self.block_steps)
        return map_tensors(lambda rows: rows[row], self._rows(number))

    def _draw_rows(self, number: int) -> Draw:
        return map_tensors(Tensor.unbind, self.draw_block(number))

    def to_device(self, draw: Draw) -> Draw:
        return map_tensors(lambda tensor: tensor.to(self.device, non_blocking=True), draw)

    def assemble(self, draw: Draw) -> Batch:
        batch: Batch = {}
        for source in self.sources:
            batch |= source.assemble(draw[source.name])
        return batch
