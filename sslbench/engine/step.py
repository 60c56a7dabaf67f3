"""One training step, from its number to updated weights: operation by operation, or captured."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sslbench.data.feed import Draw, Feed, map_tensors
from sslbench.engine.means import Tally
from sslbench.interfaces import Batch, MethodModule, Step

Metrics = dict[str, Tensor]


@dataclass(eq=False)
class EagerStep:
    """Assemble the batch, then forward, backward and optimizer, operation by operation."""

    method: MethodModule
    optimizer: torch.optim.Optimizer
    feed: Feed
    autocast: Callable[[], AbstractContextManager]
    clip_grad_norm: float
    rate: Callable[[int], float]
    """The learning rate of a step."""
    tally: Tally

    def __post_init__(self) -> None:
        self.assemble: Callable[[Draw], Batch] = self.feed.assemble
        self.forward: Callable[[Batch], Step] = self.method

    def __call__(self, step: int) -> Metrics:
        """Take a step and return its metrics, `loss` among them, as tensors on the device."""
        set_learning_rate(self.optimizer, self.rate(step))
        return self.compute(self.feed.to_device(self.feed.draw(step)))

    def compute(self, draw: Draw) -> Metrics:
        """Take a step with a draw that is on the device; nothing in it waits for the device."""
        batch = self.assemble(draw)
        with self.autocast():
            loss, metrics = self.forward(batch)
        loss.backward()
        if self.clip_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.method.parameters(), self.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step()
        metrics = {"loss": loss.detach(), **metrics}
        self.tally.add(metrics)
        return metrics


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Set each group's rate, its share of this one (`lr_scale`).

    Where it is a tensor that is done in place, so that a graph sees it.
    """
    for group in optimizer.param_groups:
        own = rate * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = float(own)


class StaticDraw:
    """A step's draw at fixed addresses on the device, taken out of a block that lies there.

    A block is one copy from pinned memory, though it has some forty tensors. The host may draw the
    next one while the device is still busy with this one.
    """

    ALIGNMENT = 16
    NUM_BUFFERS = 2

    def __init__(self, block: Draw, device: torch.device) -> None:
        """`block`: an example, whose first dimension is that of the steps."""
        self._size, pinned = 0, device.type == "cuda"
        self._places = map_tensors(self._place, block)
        (num_steps,) = {len(tensor) for tensor in leaves(block)}
        self._buffers = [
            torch.zeros(num_steps, self._size, dtype=torch.uint8, pin_memory=pinned)
            for _ in range(self.NUM_BUFFERS if pinned else 1)
        ]
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._buffers)
        self._next = 0
        self._block = torch.zeros(num_steps, self._size, dtype=torch.uint8, device=device)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._current = torch.zeros(1, self._size, dtype=torch.uint8, device=device)
        self.draw: Draw = map_tensors(lambda place: place(self._current)[0], self._places)

    def _place(self, tensor: Tensor) -> Callable[[Tensor], Tensor]:
        """Reserve room for a tensor like this one; returns what finds it in a block's bytes."""
        start, num_bytes = self._size, tensor[0].numel() * tensor.element_size()
        self._size += -(-num_bytes // self.ALIGNMENT) * self.ALIGNMENT
        return lambda memory: (
            memory[:, start : start + num_bytes].view(tensor.dtype).view(-1, *tensor.shape[1:])
        )

    def fill(self, block: Draw, row: int) -> None:
        """Copy a block to the device; the next step is in this row of it."""
        number, self._next = self._next, (self._next + 1) % len(self._buffers)
        if (copied := self._copied[number]) is not None:
            copied.synchronize()
        buffer = self._buffers[number]
        map_tensors(lambda place, tensor: place(buffer).copy_(tensor), self._places, block)
        self._block.copy_(buffer, non_blocking=True)
        self._row.fill_(row)
        if self._block.is_cuda:
            self._copied[number] = torch.cuda.Event()
            self._copied[number].record()

    def advance(self) -> Draw:
        """Put the next step's draw to its place, by the device alone."""
        torch.index_select(self._block, 0, self._row, out=self._current)
        self._row += 1
        return self.draw


def leaves(draw: Draw) -> list[Tensor]:
    """Return all tensors of a draw."""
    found: list[Tensor] = []
    map_tensors(found.append, draw)
    return found


def record_cuda_graph(function: Callable[[], Metrics]) -> Callable[[], Metrics]:
    """Record a function as a CUDA graph: one launch instead of a thousand."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        metrics = function()

    def replay() -> Metrics:
        graph.replay()
        return metrics

    return replay


@dataclass(eq=False)
class CapturedStep:
    """The whole step (augmentation, forward, backward, optimizer) as one CUDA graph.

    It finds its own random numbers and learning rate in a block on the device, so that the host has
    nothing to do for a step but to launch it. The first steps are ordinary ones: they choose
    kernels and make the optimizer's state. Nothing is computed twice, so the numbers are those of
    EagerStep.
    """

    NUM_WARM_UP: ClassVar[int] = 3
    eager: EagerStep
    device: torch.device
    record: Callable[[Callable[[], Metrics]], Callable[[], Metrics]] = record_cuda_graph

    def __post_init__(self) -> None:
        self._num_taken = 0
        self._next = -1
        self._static: StaticDraw | None = None
        self._replay: Callable[[], Metrics] | None = None

    def __call__(self, step: int) -> Metrics:
        """Take a step and return its metrics; the next step overwrites them."""
        number, row = divmod(step, self.eager.feed.block_steps)
        if row == 0 or step != self._next:
            block = self._block(number)
            if self._static is None:
                self._static = StaticDraw(block, self.device)
            self._static.fill(block, row)
        self._next = step + 1
        if self._num_taken < self.NUM_WARM_UP:
            self._num_taken += 1
            return self._warm_up()
        if self._replay is None:
            self._replay = self.record(self._compute)
        return self._replay()

    def _block(self, number: int) -> Draw:
        feed, rate = self.eager.feed, self.eager.rate
        steps = range(number * feed.block_steps, (number + 1) * feed.block_steps)
        return {
            **feed.draw_block(number),
            "rate": torch.tensor([*map(rate, steps)], dtype=torch.float64),
        }

    def _compute(self) -> Metrics:
        draw = self._static.advance()
        set_learning_rate(self.eager.optimizer, draw["rate"])
        return self.eager.compute(draw)

    def _warm_up(self) -> Metrics:
        if self.device.type != "cuda":
            return self._compute()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            metrics = self._compute()
        torch.cuda.current_stream().wait_stream(side)
        return metrics
