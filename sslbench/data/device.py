"""Images where the device wants them, and the splits of them that carry labels."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslbench.data import Dataset


class ImageStore:
    """uint8 images `(N, 3, 96, 96)`: memory-mapped on disk, or resident on a GPU."""

    def __init__(self, images: np.ndarray, device: torch.device, *, resident: bool) -> None:
        # STL-10 is column-major: this is the order of the bytes, so that rows are copied whole.
        self._columns = images.swapaxes(2, 3)
        self._device = device
        self.resident = resident
        if resident:
            with warnings.catch_warnings():  # the map is read-only, and only read
                warnings.simplefilter("ignore", UserWarning)
                self._on_device = torch.from_numpy(np.ascontiguousarray(self._columns)).to(device)

    def __len__(self) -> int:
        return len(self._columns)

    def take(self, indices: Tensor) -> Tensor:
        """Return uint8 `(n, 3, 96, 96)` on the device; `indices` are on it where resident."""
        if self.resident:
            return self._on_device[indices].transpose(2, 3)
        columns = torch.from_numpy(self._columns[indices.numpy()])
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
    """A data set on a device: resident on a GPU with room for it, else memory-mapped."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        resident = device.type == "cuda" and _fits(dataset, device)
        train = ImageStore(dataset.train_images, device, resident=resident)
        test = ImageStore(dataset.test_images, device, resident=resident)

        def split(store: ImageStore, labels: np.ndarray, indices: np.ndarray) -> LabeledImages:
            return LabeledImages(store, indices, labels[indices])

        self.unlabeled = ImageStore(dataset.unlabeled_images, device, resident=resident)
        self.train = split(train, dataset.train_labels, dataset.train_indices)
        self.val = split(test, dataset.test_labels, dataset.val_indices)
        self.test = split(test, dataset.test_labels, dataset.test_indices)


def _fits(dataset: Dataset, device: torch.device) -> bool:
    """Whether all images fit in half of the GPU's free memory."""
    needed = sum(
        images.nbytes
        for images in (dataset.train_images, dataset.test_images, dataset.unlabeled_images)
    )
    return needed < torch.cuda.mem_get_info(device)[0] / 2
