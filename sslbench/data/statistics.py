"""A data set's mean and standard deviation, measured exactly and kept."""

import json
from pathlib import Path

import numpy as np

from sslbench.files import write_json

CHUNK = 500


def measure(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel of `(N, 3, 96, 96)` uint8, pixels in [0, 1].

    Counts of the 256 values are exact, and memory stays flat.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), CHUNK):
        # Column-major as it lies on disk: the order of pixels does not matter here.
        chunk = np.ascontiguousarray(images[start : start + CHUNK].swapaxes(2, 3))
        for channel in range(3):
            counts[channel] += np.bincount(chunk[:, channel].reshape(-1), minlength=256)
    values = np.arange(256) / 255
    weights = counts / counts.sum(1, keepdims=True)
    mean = weights @ values
    variance = (weights * (values - mean[:, None]) ** 2).sum(1)
    return mean.tolist(), np.sqrt(variance).tolist()


def cached_statistics(
    images: np.ndarray, fingerprint: str, cache: Path
) -> tuple[list[float], list[float]]:
    """Measure once for each data set; later calls read what the first one wrote."""
    path = cache / f"statistics-{fingerprint}.json"
    if not path.exists():
        mean, std = measure(images)
        cache.mkdir(parents=True, exist_ok=True)
        write_json(path, {"mean": mean, "std": std})
    known = json.loads(path.read_text())
    return known["mean"], known["std"]
