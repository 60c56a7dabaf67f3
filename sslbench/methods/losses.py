"""Losses and accuracy as pure functions, in float32 whatever the precision around them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def standardize(z: Tensor, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over the batch of `(N, D)`, guarded where a feature is flat.

    The biased variance plus `eps`, as BatchNorm has it in Zbontar et al.'s code.
    """
    centered = z - z.mean(0)
    return centered * torch.rsqrt(centered.square().mean(0) + eps)


def barlow_twins_loss(z_a: Tensor, z_b: Tensor, lambd: float) -> Tensor:
    """Sum of (1 - C_ii)^2 plus `lambd` times the sum of C_ij^2, i != j.

    C is the cross-correlation of the two views' projections `(N, D)` over the batch (Zbontar et
    al. 2021, eq. 1 and 2). All of C's squares add up to the sum of (A A^T) * (B B^T), which is
    cheaper than C itself where N < D.

    Returns:
        A float32 scalar.
    """
    with torch.autocast(z_a.device.type, enabled=False):
        num, dim = z_a.shape
        a, b = standardize(z_a.float()), standardize(z_b.float())
        diagonal = (a * b).mean(0)
        if num < dim:
            all_squares = ((a @ a.T) * (b @ b.T)).sum() / num**2
        else:
            all_squares = (a.T @ b / num).square().sum()
        off_diagonal = all_squares - diagonal.square().sum()
        return (1 - diagonal).square().sum() + lambd * off_diagonal


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of `(B, C)` logits against `(B,)` int64 labels, a float32 scalar."""
    return F.cross_entropy(logits.float(), labels)


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy summed where the `(B,)` mask holds and divided by B (Sohn et al. 2020, eq. 4).

    Args:
        targets: `(B,)` int64 classes, or `(B, C)` float32 distributions.
    """
    return (F.cross_entropy(logits.float(), targets, reduction="none") * mask).mean()


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of `(B,)` labels that are the argmax of `(B, C)` logits, a float32 scalar."""
    return (logits.argmax(1) == labels).float().mean()
