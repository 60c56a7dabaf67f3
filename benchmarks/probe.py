"""The linear probe against scikit-learn's, which it replaced: to the optimum, and how fast.

    python -m benchmarks.probe --outputs DIR
    python -m benchmarks.probe --data-root DIR --models convnet,resnet18 --steps 50

With --outputs: on the embeddings that the finished cells of an output folder keep, fitted to those
of their test images, judged by those of their validation images. The optimum is scikit-learn's
Newton method in float64 with a tolerance of 1e-10. Without: what a Barlow Twins validation costs
after so many steps of training, embedding and probe apart. Interleaved medians, in one process.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.command import (
    Table,
    add_cells_options,
    command_parser,
    data_overrides,
    print_tables,
)
from benchmarks.measure import interleave, spread, synchronize
from sslbench.build import build
from sslbench.cell.embeddings import EMBEDDINGS, read_embeddings
from sslbench.config.compose import compose_settings
from sslbench.engine.training import Training
from sslbench.evaluate.cell import embed_split
from sslbench.evaluate.logistic_regression import fit_logistic_regression

L2 = 1.0
"""Of the method's default."""


class Fit(NamedTuple):
    """What a fit to standardised features found, and what it took."""

    weight: Tensor
    bias: Tensor
    iterations: int
    seconds: float


def main() -> None:
    parser = command_parser("probe", __doc__)
    add_cells_options(parser)
    parser.add_argument("--outputs", type=Path, help="of finished cells")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50, help="of training before a validation")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.models, arguments.repeats, arguments.steps = ("convnet",), 1, 1
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        table = of_validations(arguments) if arguments.outputs is None else of_cells(arguments)
    print_tables([table], arguments)


def of_cells(arguments: argparse.Namespace) -> Table:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folders = sorted(path.parent for path in arguments.outputs.glob("cells/*/embeddings-test.npz"))
    rows = [compare(folder, device, arguments.repeats) for folder in folders]
    columns = ("cell", "optimum, %", "to it by scikit-learn, s", "scikit-learn, s", "ours, s")
    columns += ("ratio", "iterations", "points from the optimum", "coefficients' difference")
    return Table("The probe, scikit-learn's (300 iterations in float32) / ours", columns, rows)


def compare(folder: Path, device: torch.device, repeats: int) -> tuple[str, ...]:
    """Fit to a cell's test images by both, and say how far from the optimum they end."""
    values, labels = _load(folder, "test", device)
    mean, scale = values.mean(0), values.std(0, correction=0).clamp_min(1e-8)
    features = (values - mean) / scale
    val_values, val_labels = _load(folder, "val", device)
    val_features = (val_values - mean) / scale
    ours(features, labels)  # what is loaded once
    fits = interleave(
        {
            "scikit-learn": partial(as_it_was, features, labels),
            "ours": partial(ours, features, labels),
        },
        repeats,
    )
    best = by_scikit_learn(features, labels, tol=1e-10, max_iter=1000, solver="newton-cg")

    def accuracy(fit: Fit) -> float:
        guesses = (val_features @ fit.weight.T + fit.bias).argmax(1)
        return 100 * (guesses == val_labels).double().mean().item()

    def difference(fit: Fit) -> float:
        largest = best.weight.abs().max().clamp_min(1e-12)
        return ((fit.weight - best.weight).abs().max() / largest).item()

    first = [each[0] for each in fits.values()]
    was, now = (spread([fit.seconds for fit in each]).median for each in fits.values())
    return (
        folder.name,
        f"{accuracy(best):.1f}",
        f"{best.seconds:.1f}",
        f"{was:.2f}",
        f"{now:.2f}",
        f"x{was / now:.1f}",
        " / ".join(str(fit.iterations) for fit in first),
        " / ".join(f"{accuracy(fit) - accuracy(best):+.2f}" for fit in first),
        " / ".join(f"{difference(fit):.0e}" for fit in first),
    )


def _load(folder: Path, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    found = read_embeddings(folder / EMBEDDINGS.format(split))
    values, labels = (torch.from_numpy(it).to(device) for it in (found.values, found.labels))
    return values.double(), labels


def ours(features: Tensor, labels: Tensor) -> Fit:
    began = time.perf_counter()
    found = fit_logistic_regression(features, labels, L2)
    synchronize(features.device)
    return Fit(*found, time.perf_counter() - began)


def as_it_was(features: Tensor, labels: Tensor) -> Fit:
    return by_scikit_learn(features.float(), labels, max_iter=300)


def by_scikit_learn(features: Tensor, labels: Tensor, **options: float | str) -> Fit:
    """Fit on the CPU, copying there and back."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops early, or where rounding ends a line search
        found = LogisticRegression(C=1 / L2, **options)
        found.fit(features.cpu().numpy(), labels.cpu().numpy())
    weight, bias = (
        torch.from_numpy(it).to(labels.device).double() for it in (found.coef_, found.intercept_)
    )
    return Fit(weight, bias, int(found.n_iter_.max()), time.perf_counter() - began)


def of_validations(arguments: argparse.Namespace) -> Table:
    rows = [validation_row(model, arguments) for model in arguments.models]
    columns = ("model", "images, train + val", "embedding, s", "scikit-learn's probe, s")
    columns += ("our probe, s", "validation, before / after, s")
    return Table(f"A validation of Barlow Twins after {arguments.steps} steps", columns, rows)


def validation_row(model: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    training = _trained(model, arguments)
    images, (embeddings, labels) = training.images, embed_split(training, training.images.train)
    x = embeddings.double()
    features = (x - x.mean(0)) / x.std(0, correction=0).clamp_min(1e-8)
    ours(features, labels)  # what is loaded once
    seconds = interleave(
        {
            "embedding": lambda: _embed(training),
            "before": lambda: as_it_was(features, labels).seconds,
            "after": lambda: ours(features, labels).seconds,
        },
        arguments.repeats,
    )
    embedding, before, after = (spread(each).median for each in seconds.values())
    return (
        model,
        f"{len(images.train):,} + {len(images.val):,}",
        *(f"{it:.2f}" for it in (embedding, before, after)),
        f"{embedding + before:.1f} / {embedding + after:.1f}",
    )


def _trained(model: str, arguments: argparse.Namespace) -> Training:
    overrides = [f"model={model}", "method=barlow", f"threads={arguments.threads}"]
    overrides += data_overrides(arguments.data_root)
    settings = compose_settings(overrides + ["method.batch_size=8"] * arguments.quick)
    training = build(settings)
    training.method.train()
    for step in range(arguments.steps):
        training.take_step(training.feed.draw(step), settings.optimizer.lr)
    training.method.eval()
    return training


def _embed(training: Training) -> float:
    """Embed what a validation does, and return the seconds."""
    began = time.perf_counter()
    for split in (training.images.train, training.images.val):
        embed_split(training, split)
    synchronize(training.device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
