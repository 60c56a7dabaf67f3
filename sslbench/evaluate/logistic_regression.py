"""Multinomial logistic regression, fitted on the device where its features lie."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import solve_triangular

NUM_ROUNDS, NUM_ITERATIONS = 20, 50
"""Rounds of L-BFGS, and the iterations of each at most."""
TOLERANCE = 1e-6
"""Largest derivative at the end, for a standard error's step, as a share of the loss's root."""


class LogisticRegression(NamedTuple):
    """`(C, D)` weights and `(C,)` biases, float64, and how many iterations they took."""

    weight: Tensor
    bias: Tensor
    iterations: int


def fit_logistic_regression(features: Tensor, labels: Tensor, l2: float) -> LogisticRegression:
    """Minimise the summed cross-entropy plus l2 / 2 times the weights' sum of squares.

    That is scikit-learn's objective with its C = 1 / l2; biases are not penalised. Neither the
    features' scales nor how they depend on each other matter much: at l2 = 1 it takes 50 to 250
    iterations on the embeddings of real encoders. Where classes part so well under so small a
    penalty that 1,000 do not suffice, what these have reached is returned.

    Args:
        features: `(N, D)` float64, finite.
        labels: `(N,)` int64 in 0 .. C - 1.
        l2: Above 0.
    """
    num_classes = int(labels.max()) + 1
    if num_classes == 2:  # scikit-learn penalises the difference of the two classes' weights
        l2 *= 2
    inputs = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    penalties = torch.full_like(inputs[0], l2)
    penalties[-1] = 0

    def loss_of(weights: Tensor) -> Tensor:
        cross_entropy = F.cross_entropy(inputs @ weights.T, labels, reduction="sum")
        return cross_entropy + (penalties * weights.square()).sum() / 2

    weights, iterations = inputs.new_zeros(num_classes, inputs.shape[1]), 0
    for _ in range(NUM_ROUNDS):
        root = _root_of_curvature(inputs, weights, penalties)
        weights, taken, is_minimum = _descend(loss_of, weights, root)
        iterations += taken
        if is_minimum:
            break
    return LogisticRegression(weights[:, :-1], weights[:, -1], iterations)


def _root_of_curvature(inputs: Tensor, weights: Tensor, penalties: Tensor) -> Tensor:
    """Return the Cholesky factor of the loss's Hessian for one class, the mean of all of them."""
    probabilities = (inputs @ weights.T).softmax(1)
    uncertainty = (1 - probabilities.square().sum(1)) / (len(weights) - 1)
    # The two floors are for what rounding would leave at zero or below it.
    curvature = inputs.T @ (inputs * uncertainty.clamp_min(1e-12)[:, None])
    curvature.diagonal().add_(penalties + 1e-12 * curvature.diagonal().max())
    return torch.linalg.cholesky(curvature)


def _descend(
    loss_of: Callable[[Tensor], Tensor], start: Tensor, root: Tensor
) -> tuple[Tensor, int, bool]:
    """Return better weights, how many iterations of L-BFGS led to them, and if nothing is left.

    Its variables are steps in standard errors: the loss is about as steep in each direction.
    """
    steps = torch.zeros_like(start, requires_grad=True)

    def moved() -> Tensor:
        return start + solve_triangular(root, steps, upper=False, left=False)

    def loss_and_gradient() -> Tensor:
        steps.grad = None
        loss = loss_of(moved())
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(
        [steps],
        max_iter=NUM_ITERATIONS,
        tolerance_grad=TOLERANCE * loss_of(start).item() ** 0.5,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(loss_and_gradient)
    with torch.enable_grad():
        loss = loss_and_gradient().item()
    # The loss may be far below what the tolerance was derived from.
    is_minimum = steps.grad.abs().max().item() <= TOLERANCE * loss**0.5
    return moved().detach(), optimizer.state[steps]["n_iter"], is_minimum
