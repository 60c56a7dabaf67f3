"""The figures of a trained cell, and the embeddings they were made from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from sslbench.atomic import replace_file
from sslbench.cell import checkpoint
from sslbench.config import settings as schema
from sslbench.data.device import Images
from sslbench.evaluate.probe import knn_predict
from sslbench.evaluate.score import Evaluator, classify, score


def evaluate_cell(
    method: nn.Module,
    config: schema.Method,
    evaluator: Evaluator,
    images: Images,
    train_means: dict[str, float],
    folder: Path,
) -> dict[str, Any]:
    """Score the method's weights on all splits; save the embeddings of `val` and `test`.

    Args:
        train_means: Of the last training steps, with `num_images` if `accuracy` is among them;
            they stand under `train`.

    Returns:
        The `results` of the cell's record.
    """
    encoder = method.evaluated_encoder
    before = checkpoint.digest(encoder)
    train_embeddings, train_labels = evaluator.embed_split(encoder, images.train)
    classifier = method.classifier(lambda: (train_embeddings, train_labels))
    plain = score(classify(classifier, train_embeddings), train_labels)
    results: dict[str, Any] = {
        "train": {"accuracy": plain.accuracy, "num_images": len(train_labels)} | train_means,
        "train_plain": asdict(plain),
    }
    knn = {}
    for name, split in (("val", images.val), ("test", images.test)):
        embeddings, labels = evaluator.embed_split(encoder, split)
        logits = classify(classifier, embeddings)
        results[name] = asdict(score(logits, labels))
        if isinstance(config, schema.BarlowTwins):
            predictions = knn_predict(train_embeddings, train_labels, embeddings, config.knn_k)
            knn[name] = (predictions == labels).float().mean().item()
        save_embeddings(
            folder / f"embeddings-{name}.npz",
            embeddings,
            labels,
            split.indices,
            logits=logits.cpu().numpy(),
        )
    if knn:
        results["knn"] = knn
    assert checkpoint.digest(encoder) == before, "evaluation changed the encoder"
    return results


def save_embeddings(
    path: Path, embeddings: Tensor, labels: Tensor, indices: np.ndarray, **more: np.ndarray
) -> None:
    """Save `(n, D)` float32 embeddings with their `(n,)` labels and positions."""
    arrays = {
        "embeddings": embeddings.cpu().numpy(),
        "labels": labels.cpu().numpy(),
        "indices": indices,
        **more,
    }
    replace_file(path, lambda file: np.savez(file, **arrays))
