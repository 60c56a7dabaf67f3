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


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of `(B, C)` logits, a float32 scalar.

    Args:
        targets: `(B,)` int64 classes, or `(B, C)` float32 distributions.
        smoothing: Share of each target that all classes share alike (Szegedy et al. 2016).
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy summed where the `(B,)` mask holds and divided by B (Sohn et al. 2020, eq. 4).

    Args:
        targets: `(B,)` int64 classes, or `(B, C)` float32 distributions.
    """
    return (F.cross_entropy(logits.float(), targets, reduction="none") * mask).mean()


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of targets that are the argmax of `(B, C)` logits, a float32 scalar.

    Targets are as `cross_entropy` takes them; of a distribution the argmax's share counts.
    """
    guesses = logits.argmax(1)
    if targets.ndim == 2:
        return targets.gather(1, guesses[:, None]).mean()
    return (guesses == targets).float().mean()


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Return `(N, num_classes)` bool of `(N,)` int64 labels, of which negative ones name no class.

    torch's one_hot looks at their values, for which a step would wait.
    """
    return labels[:, None] == torch.arange(num_classes, device=labels.device)


def mixed_labels(labels: Tensor, shares: Tensor, num_classes: int) -> Tensor:
    """Return `(B, num_classes)` float32: `(B,)` shares of own labels, the rest of those before."""
    classes, shares = one_hot(labels, num_classes).float(), shares[:, None]
    return shares * classes + (1 - shares) * classes.roll(1, 0)
