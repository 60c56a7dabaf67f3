"""Mean and standard deviation of a data set's colours, measured on its labelled train images."""

import logging
from pathlib import Path

import numpy as np

from sslbench.files.checksums import read_sealed, write_sealed

log = logging.getLogger(__name__)

CHUNK_IMAGES = 256

Channels = tuple[float, float, float]


def cached_statistics(
    images: np.ndarray, fingerprint: str, outputs: Path
) -> tuple[Channels, Channels]:
    """Return mean and standard deviation, from `<outputs>/cache` where they are known."""
    path = outputs / "cache" / f"statistics-{fingerprint}.json"
    try:
        known = read_sealed(path)
        return tuple(known["mean"]), tuple(known["std"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged (%s); it is written anew", path, error)
    mean, std = color_statistics(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"mean": list(mean), "std": list(std)})
    return mean, std


def color_statistics(images: np.ndarray) -> tuple[Channels, Channels]:
    """Return mean and deviation of uint8 `(N, 3, side, side)` by channel, in [0, 1].

    Exact, by counting values.

    Raises:
        ValueError: If a channel has one value everywhere.
    """
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = images[start : start + CHUNK_IMAGES].swapaxes(2, 3)  # as the bytes lie
        counts += [np.bincount(chunk[:, channel].ravel(), minlength=256) for channel in range(3)]
    values = np.arange(256) / 255
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    if (counts.max(1) == counts.sum(1)).any():
        channel = int((counts.max(1) == counts.sum(1)).argmax())
        raise ValueError(
            f"train_X.bin: channel {channel} is {counts[channel].argmax()} in every pixel, which "
            "cannot be normalised; check the file"
        )
    return tuple(mean.tolist()), tuple(deviation.tolist())
