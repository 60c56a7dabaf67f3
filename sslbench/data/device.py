"""Images where the device wants them, and the splits of them that carry labels."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sslbench.data import Dataset


class ImageStore:
    """uint8 images `(N, 3, side, side)`: memory-mapped on disk, or resident on a GPU."""

    def __init__(self, images: np.ndarray, device: torch.device, *, resident: bool) -> None:
        # STL-10 is column-major: this is the order of the bytes, so that rows are copied whole.
        self._columns = images.swapaxes(2, 3)
        self._device = device
        self.resident = resident
        self.side = images.shape[-1]

    @cached_property
    def _on_device(self) -> Tensor:
        """All images, from the first use on: a cell that needs none of these does not load them."""
        with warnings.catch_warnings():  # the map is read-only, and only read
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(np.ascontiguousarray(self._columns)).to(self._device)

    def __len__(self) -> int:
        return len(self._columns)

    def take(self, indices: Tensor) -> Tensor:
        """Return uint8 `(n, 3, side, side)` on the device, where the indices are too."""
        if self.resident:
            return self._on_device[indices].transpose(2, 3)
        columns = torch.from_numpy(self._columns[indices.cpu().numpy()])
        return columns.to(self._device, non_blocking=True).transpose(2, 3)


@dataclass(frozen=True)
class LabeledImages:
    """The images of one split: `(N,)` int64 positions in a store, and their `(N,)` labels."""

    store: ImageStore
    indices: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


class Images:
    """A data set on a device: resident where it takes less than half of a GPU's free memory."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        files, splits = dataset.files, dataset.splits
        num_bytes = sum(images.nbytes for images in files.images.values())
        resident = device.type == "cuda" and num_bytes < torch.cuda.mem_get_info(device)[0] / 2
        self.stores = {
            name: ImageStore(images, device, resident=resident)
            for name, images in files.images.items()
        }
        """By file."""
        self.train, self.val, self.test = (
            LabeledImages(self.stores[file], indices, files.labels[file][indices])
            for file, indices in (splits.train, splits.val, splits.test)
        )
