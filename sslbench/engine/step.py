"""One training step, from a draw to updated weights: operation by operation, or captured."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sslbench.data.feed import Draw, Feed, map_tensors
from sslbench.interfaces import MethodModule

Metrics = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class EagerStep:
    """Assemble the batch, then forward, backward and optimizer, operation by operation."""

    method: MethodModule
    optimizer: torch.optim.Optimizer
    feed: Feed
    autocast: Callable[[], AbstractContextManager]
    clip_grad_norm: float

    def __call__(self, draw: Draw, learning_rate: float) -> Metrics:
        """Take a step and return its metrics, `loss` among them, as tensors on the device."""
        set_learning_rate(self.optimizer, learning_rate)
        return self.compute(self.feed.to_device(draw))

    def compute(self, draw: Draw) -> Metrics:
        """Take a step with a draw that is on the device; nothing in it waits for the device."""
        batch = self.feed.assemble(draw)
        with self.autocast():
            loss, metrics = self.method(batch)
        loss.backward()
        if self.clip_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.method.parameters(), self.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step()
        return {"loss": loss.detach(), **metrics}


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of all groups; where it is a tensor, in place, so that a graph sees it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


class StaticDraw:
    """A draw at fixed addresses on the device, filled by one copy from pinned memory.

    Some forty tensors of a few numbers per image would be as many copies. The host may run ahead
    of the device by as many steps as there are buffers.
    """

    ALIGNMENT = 16
    NUM_BUFFERS = 4

    def __init__(self, example: Draw, device: torch.device) -> None:
        self._size = 0
        self._places = map_tensors(self._place, example)
        pinned = device.type == "cuda"
        self._buffers = [
            torch.empty(self._size, dtype=torch.uint8, pin_memory=pinned)
            for _ in range(self.NUM_BUFFERS if pinned else 1)
        ]
        self._copied: list[torch.cuda.Event | None] = [None] * len(self._buffers)
        self._on_device = torch.empty(self._size, dtype=torch.uint8, device=device)
        self._next = 0
        self.draw = self._views(self._on_device)

    def _place(self, tensor: Tensor) -> Callable[[Tensor], Tensor]:
        """Reserve room for a tensor like this one; returns what finds it in a memory."""
        start, num_bytes = self._size, tensor.numel() * tensor.element_size()
        self._size += -(-num_bytes // self.ALIGNMENT) * self.ALIGNMENT
        return lambda memory: (
            memory[start : start + num_bytes].view(tensor.dtype).view(tensor.shape)
        )

    def _views(self, memory: Tensor) -> Draw:
        return map_tensors(lambda find: find(memory), self._places)

    def fill(self, draw: Draw) -> None:
        """Copy a draw of the same shapes to the device."""
        number, self._next = self._next, (self._next + 1) % len(self._buffers)
        if (copied := self._copied[number]) is not None:
            copied.synchronize()
        map_tensors(Tensor.copy_, self._views(self._buffers[number]), draw)
        self._on_device.copy_(self._buffers[number], non_blocking=True)
        if self._on_device.is_cuda:
            self._copied[number] = torch.cuda.Event()
            self._copied[number].record()


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

    The first steps are ordinary ones: they choose kernels and make the optimizer's state. Nothing
    is computed twice, so the numbers are those of EagerStep.
    """

    NUM_WARM_UP: ClassVar[int] = 3
    eager: EagerStep
    device: torch.device
    record: Callable[[Callable[[], Metrics]], Callable[[], Metrics]] = record_cuda_graph

    def __post_init__(self) -> None:
        self._num_taken = 0
        self._static: StaticDraw | None = None
        self._replay: Callable[[], Metrics] | None = None

    def __call__(self, draw: Draw, learning_rate: float) -> Metrics:
        """Take a step and return its metrics; the next step overwrites them."""
        set_learning_rate(self.eager.optimizer, learning_rate)
        if self._static is None:
            self._static = StaticDraw(draw, self.device)
        self._static.fill(draw)
        if self._num_taken < self.NUM_WARM_UP:
            self._num_taken += 1
            return self._warm_up()
        if self._replay is None:
            static = self._static.draw
            self._replay = self.record(lambda: self.eager.compute(static))
        return self._replay()

    def _warm_up(self) -> Metrics:
        if self.device.type != "cuda":
            return self.eager.compute(self._static.draw)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            metrics = self.eager.compute(self._static.draw)
        torch.cuda.current_stream().wait_stream(side)
        return metrics
