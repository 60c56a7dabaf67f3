"""What W&B shows of a finished cell beside its curves: test images by class, its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import wandb
from matplotlib.figure import Figure
from PIL import Image

from sslbench.cell.embeddings import EMBEDDINGS, read_embeddings
from sslbench.cell.record import PREVIEW, Record
from sslbench.evaluate.projection import choose_points, project_tsne
from sslbench.scatter import NO_TICKS, STYLE, name_classes, rendered, scatter

TEST_EMBEDDINGS = EMBEDDINGS.format("test")
COLUMNS = ["image", "x", "y", "label", "prediction", "correct"]


def pictures_and_tables(record: Record, folder: Path) -> dict[str, Any]:
    """Return the last point of a finished cell's run."""
    names = record.data["class_names"]
    embeddings = read_embeddings(folder / TEST_EMBEDDINGS)
    with np.load(folder / TEST_EMBEDDINGS) as file:
        predictions = file["logits"].argmax(1)
    chosen = choose_points(embeddings.labels)
    labels, guesses = embeddings.labels[chosen], predictions[chosen]
    points = project_tsne(embeddings.values[chosen])
    images = embeddings.indices[chosen].tolist()
    rows = zip(images, *points.T.tolist(), labels, guesses, strict=True)
    data = [[i, x, y, names[label], names[at], bool(label == at)] for i, x, y, label, at in rows]
    classes = {"y_true": embeddings.labels.tolist(), "preds": predictions.tolist()}
    classes |= {"class_names": names, "title": "Confusion matrix (test)"}
    return {
        "step": record.results["steps"],
        "confusion_matrix": wandb.plot.confusion_matrix(**classes),
        "images": wandb.Image(str(folder / PREVIEW)),
        "embeddings/tsne": wandb.Image(draw_classes(points, labels, names)),
        "embeddings/table": wandb.Table(COLUMNS, data),
    }


def draw_classes(points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Draw `(n, 2)` points in the colours of their `(n,)` labels, as the report does."""
    with matplotlib.rc_context(fname=STYLE):
        canvas = Figure((6.4, 4.8), dpi=100)
        scatter(canvas.subplots(subplot_kw=NO_TICKS), points, labels, size=12)
        name_classes(canvas, names)
        return rendered(canvas)


def weights_artifact(record: Record, folder: Path, metadata: dict[str, Any]) -> wandb.Artifact:
    """Return a finished cell's weights as an artifact of its name."""
    artifact = wandb.Artifact(record.cell, type="model", metadata=metadata)
    artifact.add_file(str(folder / record.results["weights"]))
    return artifact
