"""Checkpoints that are written while training goes on."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from sslbench.cell import checkpoint


class CheckpointWriter:
    """Writes a cell's checkpoints one after the other, each whole or not at all, in a thread.

    Training waits while its state is copied, and for the checkpoint before this one.
    """

    def __init__(self, folder: Path, thread: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._thread = thread
        self._pending: Future[None] | None = None
        self._copies: list[Tensor] = []

    def write(self, changing: dict[str, Any], fixed: dict[str, Any]) -> None:
        """Begin to write a checkpoint.

        Args:
            changing: What the next step changes, which is copied.
            fixed: What stays as it is.

        Raises:
            OSError: If the checkpoint before this one could not be written.
        """
        self.wait()
        state = self._copy(changing) | fixed
        last, before = (self._folder / name for name in (checkpoint.LAST, checkpoint.BEFORE_LAST))
        self._pending = self._thread.submit(checkpoint.save, last, state, keep_as=before)

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk.

        Raises:
            OSError: If it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _copy(self, state: dict[str, Any]) -> dict[str, Any]:
        """Copy tensors to memory that is kept for the next time, pinned for those of a GPU."""
        kept, self._copies = iter(self._copies), []

        def copy(tensor: Tensor) -> Tensor:
            room = next(kept, None)
            if room is None or (room.shape, room.dtype) != (tensor.shape, tensor.dtype):
                room = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            self._copies.append(room.copy_(tensor, non_blocking=True))
            return room

        copied = tree_map_only(Tensor, copy, state)
        if torch.cuda.is_initialized():
            torch.cuda.current_stream().synchronize()
        return copied


@contextmanager
def checkpoint_writer(folder: Path) -> Iterator[CheckpointWriter]:
    """Open a writer; on leaving, all of its checkpoints are on the disk."""
    with ThreadPoolExecutor(1, "checkpoints") as thread:
        writer = CheckpointWriter(folder, thread)
        yield writer
        writer.wait()
