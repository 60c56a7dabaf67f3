"""What frozen embeddings are worth: a linear probe and nearest neighbours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench.evaluate.logistic_regression import fit_logistic_regression


def fit_linear_probe(embeddings: Tensor, labels: Tensor, l2: float) -> nn.Linear:
    """Fit multinomial logistic regression on standardised embeddings, on their device.

    Args:
        embeddings: `(N, D)` float32.
        labels: `(N,)` int64 in 0 .. C - 1, each class at least once.
        l2: Penalty on the weights, 1 / C in scikit-learn's sense.

    Returns:
        The probe with the standardisation folded in: raw `(M, D)` embeddings -> `(M, C)` logits.
    """
    x = embeddings.double()
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-8)
    weight, bias, _ = fit_logistic_regression((x - mean) / scale, labels, l2)
    weight = weight / scale
    probe = nn.Linear(x.shape[1], len(bias), device=x.device)
    with torch.no_grad():
        probe.weight.copy_(weight)
        probe.bias.copy_(bias - weight @ mean)
    return probe.requires_grad_(False)


def knn_predict(
    train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float = 0.1
) -> Tensor:
    """Classify by a vote of the k nearest neighbours, weighted by exp(cosine / temperature).

    The protocol of Wu et al. 2018. Queries go in chunks, so that memory stays flat, whatever k is.

    Args:
        train: `(N, D)` float32 embeddings with `(N,)` int64 `labels` >= 0.
        queries: `(M, D)` float32.
        k: At most N is used.

    Returns:
        `(M,)` int64 classes.
    """
    train = F.normalize(train, dim=1)
    one_hot = F.one_hot(labels).float()
    predictions = []
    for chunk in F.normalize(queries, dim=1).split(1000):
        similarity = chunk @ train.T
        nearest, neighbors = similarity.topk(min(k, len(train)), dim=1)
        weights = torch.zeros_like(similarity)
        weights.scatter_(1, neighbors, (nearest / temperature).exp())
        predictions.append((weights @ one_hot).argmax(1))
    return torch.cat(predictions)
