"""What frozen embeddings are worth: a linear probe and nearest neighbours."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_linear_probe(embeddings: Tensor, labels: Tensor, l2: float) -> nn.Linear:
    """Fit multinomial logistic regression on standardised embeddings.

    Args:
        embeddings: `(N, D)` float32.
        labels: `(N,)` int64 in 0 .. C - 1, each class at least once.
        l2: Penalty on the weights, 1 / C in scikit-learn's sense.

    Returns:
        The probe with the standardisation folded in: raw `(M, D)` embeddings -> `(M, C)` logits.
    """
    from sklearn.exceptions import ConvergenceWarning  # 2 s to import: only where a probe is fitted
    from sklearn.linear_model import LogisticRegression

    x = embeddings.cpu().double()
    mean, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-8)
    with warnings.catch_warnings():
        # Stopping early is part of the protocol: every encoder gets the same budget.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression = LogisticRegression(C=1 / l2, max_iter=300)
        regression.fit(((x - mean) / scale).float().numpy(), labels.cpu().numpy())
    weight = torch.from_numpy(regression.coef_).double()
    bias = torch.from_numpy(regression.intercept_).double()
    if len(bias) == 1:  # two classes: scikit-learn keeps only the difference of their logits
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    weight = weight / scale
    bias = bias - weight @ mean
    probe = nn.Linear(x.shape[1], len(bias), device=embeddings.device)
    with torch.no_grad():
        probe.weight.copy_(weight)
        probe.bias.copy_(bias)
    return probe.requires_grad_(False)


def knn_predict(
    train: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float = 0.1
) -> Tensor:
    """Classify by a vote of the k nearest neighbours, weighted by exp(cosine / temperature).

    The protocol of Wu et al. 2018. Queries go in chunks, so that memory stays flat.

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
        similarity, neighbors = (chunk @ train.T).topk(min(k, len(train)), dim=1)
        weights = (similarity / temperature).exp()
        votes = torch.einsum("mk,mkc->mc", weights, one_hot[neighbors])
        predictions.append(votes.argmax(1))
    return torch.cat(predictions)
