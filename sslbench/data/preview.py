"""A picture of what a cell sees: labelled images, unlabelled ones, and views of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sslbench.atomic import replace_file
from sslbench.config.parts import IMAGE_SIDE as SIDE
from sslbench.data import Dataset
from sslbench.data.feed import Feed

PREVIEW = "images.png"
COLUMNS, LABELED_ROWS = 10, 4
CAPTION = 14


def save_preview(path: Path, dataset: Dataset, feed: Feed) -> None:
    """Save the first labelled images under their names, and the first batch of each view."""
    files = dataset.files
    tiles: list[tuple[np.ndarray, str]] = []
    for index in dataset.train_indices[: COLUMNS * LABELED_ROWS]:
        name = files.class_names[files.train_labels[index]]
        tiles.append((files.train_images[index].transpose(1, 2, 0), name))
    tiles += _filler(tiles)
    batch = feed.assemble(feed.to_device(feed.draw(0)))
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    for name, views in batch.items():
        if views.ndim == 4:
            pixels = (views[:COLUMNS].float().cpu() * std + mean).clamp(0, 1)
            tiles += [(_to_uint8(view), name) for view in pixels]
            tiles += _filler(tiles)
    rows = len(tiles) // COLUMNS
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 4), rows * (SIDE + CAPTION + 4)), "white")
    writer = ImageDraw.Draw(sheet)
    for place, (pixels, caption) in enumerate(tiles):
        left, top = place % COLUMNS * (SIDE + 4), place // COLUMNS * (SIDE + CAPTION + 4)
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top + CAPTION))
        writer.text((left + 2, top), caption, fill="black")
    replace_file(path, lambda file: sheet.save(file, format="PNG"))


def _to_uint8(view: Tensor) -> np.ndarray:
    return (view * 255).round().byte().permute(1, 2, 0).numpy()


def _filler(tiles: list[tuple[np.ndarray, str]]) -> list[tuple[np.ndarray, str]]:
    blank = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    return [(blank, "")] * (-len(tiles) % COLUMNS)
