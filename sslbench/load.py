"""Trained encoders, ready to be used elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.augment.views import PlainView
from sslbench.cell.checkpoint import encoder_weights
from sslbench.cell.folder import cells_folder
from sslbench.cell.record import (
    DONE,
    RECORD,
    SETTINGS,
    Record,
    load_record,
    require_weights,
)
from sslbench.config.as_json import model_from_json
from sslbench.config.settings import BATCH
from sslbench.evaluate.bn_statistics import use_batch_statistics

OVERSHOOT = 0.45
"""How far bicubic resizing may leave the range 0 to 1; beyond that images are on another scale."""


class Encoder(nn.Module):
    """A cell's encoder with its normalisation: `(n, 3, side, side)` images -> `(n, D)` float32.

    A plain module: it moves to any device, learns if it is trained, and leaves by torch's exports.

    Args:
        encoder: `(n, 3, side, side)` normalised images -> `(n, D)`.
        data: As a record has it: `mean`, `std`, `side` and `class_names` of the data set that the
            encoder was trained on.
        about: What else is known of it, such as the cell's id and its accuracies.
    """

    def __init__(self, encoder: nn.Module, data: dict[str, Any], about: dict[str, Any]) -> None:
        super().__init__()
        self.class_names: list[str] = data["class_names"]
        self.side: int = data["side"]
        self.embedding_dim: int = encoder.embedding_dim
        self.encoder = encoder
        self.about = about
        for name in ("mean", "std"):
            values = torch.tensor(data[name], dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)

    @property
    def metadata(self) -> dict[str, Any]:
        """What its user must know, as JSON values."""
        return {
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "side": self.side,
            "embedding_dim": self.embedding_dim,
            "class_names": self.class_names,
            **self.about,
        }

    def forward(self, images: Tensor | np.ndarray) -> Tensor:
        """Embed images, a tensor or an array: uint8, or floats between 0 and 1, not normalised.

        Raises:
            ValueError: If the images have another shape, type or scale.
        """
        if isinstance(images, np.ndarray):
            # A copy: torch refuses reversed arrays, and warns of read-only ones.
            images = torch.from_numpy(images.copy()).to(self.mean.device)
        side = self.side
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: resize them to (n, 3, {side}, {side}); "
                "channels come first: permute(0, 3, 1, 2) puts them there"
            )
        if images.dtype == torch.uint8:
            normalized = PlainView(self.mean, self.std).apply(images)
        elif images.is_floating_point():
            _require_unit_range(images)
            images = images.to(self.mean.dtype)
            normalized = (images - self.mean[:, None, None]) / self.std[:, None, None]
        else:
            raise ValueError(f"images of type {images.dtype}: pass uint8, or floats from 0 to 1")
        normalized = normalized.to(memory_format=torch.channels_last)
        return self.encoder(normalized).float()


def load_encoder(cell: str | Path, outputs: str | Path = "outputs") -> Encoder:
    """Load the encoder of a finished cell, on the CPU and in eval mode.

    That of a cell with `bn_statistics=batch` embeds an image by the batch that it is in.

    Args:
        cell: The cell's id, or its folder.
        outputs: Where the cells are, for an id.

    Raises:
        ValueError: If there is no such cell, if it is not finished, or if its files are damaged.
    """
    folder, record = finished_cell(cell, outputs)
    try:
        weights = folder / record.results["weights"]
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are loaded
            encoder = model_from_json(record.settings).build(record.data["side"])
        found = Encoder(encoder, record.data, _about(record))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error.__cause__, ImportError):  # a part from outside: says where to look
            raise
        raise ValueError(
            f"{folder / RECORD}: not as this version writes it ({type(error).__name__}: {error}); "
            "delete the folder and train the cell again"
        ) from error
    require_weights(folder, record)
    try:
        encoder.load_state_dict(encoder_weights(weights))
        if record.settings.get("bn_statistics") == BATCH:
            use_batch_statistics(encoder)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{weights}: not the weights of model={record.settings['model']['name']}; delete the "
            "folder and train the cell again"
        ) from error
    return found.eval()


def finished_cell(cell: str | Path, outputs: str | Path) -> tuple[Path, Record]:
    """Return the folder and the record of a cell, named as for `load_encoder`.

    Raises:
        ValueError: If there is no such cell, or it is not finished.
    """
    folder = _find_cell(cell, outputs)
    record = load_record(folder)
    if record is None or record.status != DONE:
        state = "no record yet" if record is None else record.status
        raise ValueError(
            f"cell {folder.name} is not finished ({state}); run it by the command that started it"
        )
    return folder, record


def _about(record: Record) -> dict[str, Any]:
    scored = {name: of for name, of in record.results.items() if isinstance(of, dict)}
    return {
        "name": record.cell,
        "model": record.settings["model"],
        "method": record.settings["method"]["name"],
        "data": record.data["name"],
        "accuracy": {name: of["accuracy"] for name, of in scored.items() if "accuracy" in of},
        "knn_accuracy": record.results.get("knn", {}),
    }


def _require_unit_range(images: Tensor) -> None:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not images.numel():
        return  # an exported program does not look at values
    low, high = images.aminmax()
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # so written, it is true of NaN too
        raise ValueError(
            f"images from {low:.4g} to {high:.4g}: floats must lie between 0 and 1 and not be "
            "normalised yet; divide by 255, or pass uint8"
        )


def _find_cell(cell: str | Path, outputs: str | Path) -> Path:
    below = cells_folder(str(outputs))
    for folder in (below / cell, Path(cell)):
        if (folder / RECORD).exists() or (folder / SETTINGS).exists():
            return folder
    known = sorted(path.name for path in below.glob("*/"))
    hint = f"there are {len(known)}, such as {known[0]}" if known else "there are none"
    raise ValueError(f"no cell {cell}: give a cell's folder, or an id below {below} ({hint})")
