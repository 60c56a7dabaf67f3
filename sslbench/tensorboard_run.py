"""What TensorBoard shows of a finished cell beside its curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sslbench.cell.card import CARD
from sslbench.cell.embeddings import EMBEDDINGS, read_embeddings
from sslbench.cell.record import PREVIEW, Record
from sslbench.evaluate.projection import choose_points

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def show_results(
    writer: "SummaryWriter", record: Record, folder: Path, values: dict[str, Any]
) -> None:
    """Add results as scalars, the card as text, what the network saw, and test embeddings.

    Args:
        values: Results by name.
    """
    step = record.results["steps"]
    for name, value in values.items():
        if "/" in name and isinstance(value, float):
            writer.add_scalar(f"results/{name}", value, step)
    writer.add_text("card", (folder / CARD).read_text(), step)
    with Image.open(folder / PREVIEW) as image:
        writer.add_image("images", np.asarray(image.convert("RGB")), step, dataformats="HWC")
    embeddings = read_embeddings(folder / EMBEDDINGS.format("test"))
    chosen = choose_points(embeddings.labels)
    names = [record.data["class_names"][label] for label in embeddings.labels[chosen]]
    writer.add_embedding(embeddings.values[chosen], names, global_step=step, tag="test")
