"""A picture of what a cell sees: labelled images, unlabelled ones, and views of them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sslbench.data import Dataset
from sslbench.data.feed import Feed
from sslbench.files.atomic import replace_file

COLUMNS, LABELED_ROWS = 10, 4
CAPTION = 14


def save_preview(path: Path, dataset: Dataset, feed: Feed) -> None:
    """Save the first labelled images under their names, and the first batch of each view."""
    files, indices = dataset.files, dataset.splits.train.indices[: COLUMNS * LABELED_ROWS]
    images, labels, side = files.images["train"], files.labels["train"], files.side
    tiles = [
        (images[index].transpose(1, 2, 0), files.class_names[labels[index]]) for index in indices
    ]
    rows = [tiles[first : first + COLUMNS] for first in range(0, len(tiles), COLUMNS)]
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    for name, views in feed.assemble(feed.to_device(feed.draw(0))).items():
        if views.ndim == 4:
            pixels = (views[:COLUMNS].float().cpu() * std + mean).clamp(0, 1) * 255
            pixels = pixels.round().byte().permute(0, 2, 3, 1).numpy()
            rows.append([(view, name) for view in pixels])
    sheet = Image.new("RGB", (COLUMNS * (side + 4), len(rows) * (side + CAPTION + 4)), "white")
    writer = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, (pixels, caption) in enumerate(row):
            left, top = j * (side + 4), i * (side + CAPTION + 4)
            sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (left, top + CAPTION))
            writer.text((left + 2, top), caption, fill="black")
    replace_file(path, lambda file: sheet.save(file, format="PNG"))
