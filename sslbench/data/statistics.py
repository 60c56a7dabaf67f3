"""Mean and standard deviation of a data set's colours, measured on its labelled train images."""

import json
from pathlib import Path

import numpy as np

from sslbench.atomic import write_json

CHUNK_IMAGES = 256

Channels = tuple[float, float, float]


def cached_statistics(
    images: np.ndarray, fingerprint: str, outputs: Path
) -> tuple[Channels, Channels]:
    """Return mean and standard deviation, from `<outputs>/cache` where they are known."""
    path = outputs / "cache" / f"statistics-{fingerprint}.json"
    if not path.exists():
        mean, std = measure(images)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"mean": mean, "std": std})
    known = json.loads(path.read_text())
    return tuple(known["mean"]), tuple(known["std"])


def measure(images: np.ndarray) -> tuple[Channels, Channels]:
    """Measure uint8 `(N, 3, 96, 96)` by channel, exactly, by counting values; pixels in [0, 1].

    Raises:
        ValueError: If a channel has one value everywhere.
    """
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = images[start : start + CHUNK_IMAGES].swapaxes(2, 3)  # as the bytes lie
        for channel in range(3):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    means, stds = [], []
    for channel, count in enumerate(counts.tolist()):
        num = sum(count)
        total = sum(value * times for value, times in enumerate(count))
        squares = sum(value**2 * times for value, times in enumerate(count))
        variance = (num * squares - total**2) / num**2
        if variance == 0:
            raise ValueError(
                f"train_X.bin: channel {channel} is {total // num} in every pixel, which cannot be "
                "normalised; check the file"
            )
        means.append(total / num / 255)
        stds.append(variance**0.5 / 255)
    return tuple(means), tuple(stds)
