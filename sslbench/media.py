"""What W&B shows of a finished cell beside its curves: test images by class, its weights."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from sslbench.cell.embeddings import EMBEDDINGS, read_embeddings
from sslbench.cell.record import Record
from sslbench.data.preview import PREVIEW
from sslbench.evaluate.projection import choose_points, project_tsne
from sslbench.palette import class_style

MAX_POINTS = 500
"""In the picture and in the table of embeddings; t-SNE of so many takes about a second."""
TEST_EMBEDDINGS = EMBEDDINGS.format("test")


def pictures_and_tables(record: Record, folder: Path) -> dict[str, Any]:
    """Return the last point of a finished cell's run."""
    names = record.data["class_names"]
    embeddings = read_embeddings(folder / TEST_EMBEDDINGS)
    with np.load(folder / TEST_EMBEDDINGS) as file:
        predictions = file["logits"].argmax(1)
    chosen = choose_points(embeddings.labels, MAX_POINTS)
    labels, guesses = embeddings.labels[chosen], predictions[chosen]
    points = project_tsne(embeddings.values[chosen])
    table = wandb.Table(columns=["image", "x", "y", "label", "prediction", "correct"])
    for index, (x, y), label, guess in zip(
        embeddings.indices[chosen], points, labels, guesses, strict=True
    ):
        table.add_data(
            int(index), float(x), float(y), names[label], names[guess], bool(label == guess)
        )
    confusion = wandb.plot.confusion_matrix(
        y_true=embeddings.labels.tolist(),
        preds=predictions.tolist(),
        class_names=names,
        title="Confusion matrix (test)",
    )
    return {
        "step": record.results["steps"],
        "confusion_matrix": confusion,
        "images": wandb.Image(str(folder / PREVIEW)),
        "embeddings/tsne": wandb.Image(draw_classes(points, labels, names)),
        "embeddings/table": table,
    }


def draw_classes(points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Draw `(n, 2)` points in the colours of their `(n,)` labels; names stand as they are."""
    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xticks=[], yticks=[], title="Test embeddings (t-SNE)")
    handles = []
    for label in range(len(names)):
        color, marker = class_style(label)
        handles.append(axes.scatter(*points[labels == label].T, s=12, c=color, marker=marker))
    # The names come after: a legend leaves out _this, and takes $this$ for a formula.
    legend = figure.legend(
        handles, range(len(names)), loc="outside right upper", frameon=False, markerscale=2
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
    with warnings.catch_warnings():  # of letters that the font lacks, and of very long names
        warnings.simplefilter("ignore", UserWarning)
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def weights_artifact(record: Record, folder: Path, metadata: dict[str, Any]) -> wandb.Artifact:
    """Return a finished cell's weights as an artifact of its name."""
    artifact = wandb.Artifact(record.cell, type="model", metadata=metadata)
    artifact.add_file(str(folder / record.results["weights"]))
    return artifact
