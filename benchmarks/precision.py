"""bf16 against fp32: the same seed, the same draws, the same number of steps.

    python -m benchmarks.precision --models resnet18 --yardstick

Compared are the first step's loss, the mean loss of the last 20 steps, the accuracy on the
validation images after the last step, and the embeddings of these: their mean norm and their
deviation, averaged over dimensions. After some steps two runs part as any two runs do whose sums
are rounded differently; --yardstick also runs fp32 from another seed, and what bf16 changes less
than that seed does is no fault of its precision. Each run has a process of its own.
"""

import argparse
import json
import math
from typing import Any

from benchmarks.command import (
    WRN_IN_A_SHORT_RUN,
    Table,
    add_cells_options,
    command_parser,
    data_overrides,
    print_tables,
)
from benchmarks.measure import run_module

NUM_LAST = 20
# Largest differences that pass: relative ones, but for the accuracy.
BOUNDS = {
    "first_loss": 0.01,
    "last_loss": 0.15,
    "accuracy": 0.05,
    "norm": 0.1,
    "std": 0.1,
}
ERRORS_OF_ACCURACY = 3
"""With few validation images an accuracy may differ by so many standard errors instead."""


def main() -> None:
    parser = command_parser("precision", __doc__)
    add_cells_options(parser)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--batch-size", type=int, default=32, help="labelled images; for Barlow Twins all of them"
    )
    parser.add_argument("--yardstick", action="store_true", help="fp32 from another seed too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.batch_size = 2, 8
    if arguments.part:
        print(json.dumps(train(arguments.part.split(), arguments)))
        return
    runs = {
        f"{model} {method}": run_all(model, method, arguments)
        for model in arguments.models
        for method in arguments.methods
    }
    print_tables([tabulate(runs, arguments)], arguments, bounds=BOUNDS, runs=runs)


def run_all(model: str, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a cell in both precisions, and by another seed where a yardstick is wanted."""
    runs = [("fp32", "fp32", 0), ("bf16", "bf16", 0)]
    if arguments.yardstick:
        runs.append(("other seed", "fp32", 1))
    words = ["--steps", str(arguments.steps), "--batch-size", str(arguments.batch_size)]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root)]
    words += ["--quick"] * arguments.quick
    return {
        name: run_module(
            "benchmarks.precision", "--part", f"{model} {method} {precision} {seed}", *words
        )
        for name, precision, seed in runs
    }


def train(words: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one run here, as the loop does, and measure it."""
    import torch

    from sslbench.build import build_parts
    from sslbench.config.presets import compose_settings
    from sslbench.evaluate import classify, score
    from sslbench.randomness import derive_seed

    model, method_name, precision, seed = words
    overrides = [f"model={model}", f"method={method_name}", f"precision={precision}"]
    overrides += [f"seed={seed}", f"steps={arguments.steps}", *data_overrides(arguments.data_root)]
    overrides += [f"method.batch_size={arguments.batch_size}"]
    if method_name == "semi":
        overrides += [f"method.unlabeled_batch_size={2 * arguments.batch_size}"]
    if model.startswith("wrn"):
        overrides += [WRN_IN_A_SHORT_RUN]
    settings = compose_settings(overrides)
    parts = build_parts(settings)
    method = parts.method.train()
    losses = []
    for step in range(arguments.steps):
        torch.manual_seed(derive_seed(settings.seed, "dropout", step))
        metrics = parts.take_step(parts.feed.draw(step), settings.optimizer.lr)
        losses.append(metrics["loss"].clone())
    curve = torch.stack(losses).float().tolist()

    encoder = method.evaluated_encoder
    embeddings, labels = parts.evaluator.embed_split(encoder, parts.images.val)
    classifier = method.classifier(lambda: parts.evaluator.embed_split(encoder, parts.images.train))
    last = curve[-NUM_LAST:]
    return {
        "first_loss": curve[0],
        "last_loss": sum(last) / len(last),
        "accuracy": score(classify(classifier, embeddings), labels).accuracy,
        "num_val": len(labels),
        "norm": embeddings.norm(dim=1).mean().item(),
        "std": embeddings.std(0).mean().item(),
        "curve": curve,
    }


def differences(run: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """Return absolute differences, relative to the reference but for the accuracy."""
    found = {}
    for name in BOUNDS:
        scale = abs(reference[name])
        if name == "last_loss":  # near zero a relative difference says nothing
            scale = max(scale, abs(reference["first_loss"]) / 10)
        difference = abs(run[name] - reference[name])
        found[name] = difference if name == "accuracy" else difference / max(scale, 1e-12)
    return found


def accuracy_bound(reference: dict[str, Any]) -> float:
    accuracy = reference["accuracy"]
    error = math.sqrt(2 * accuracy * (1 - accuracy) / reference["num_val"])
    return max(BOUNDS["accuracy"], ERRORS_OF_ACCURACY * error)


def verdict(of_cell: dict[str, Any]) -> str:
    """Say whether bf16 parts from fp32 by more than the bounds, and more than another seed does."""
    reference = of_cell["fp32"]
    bounds = BOUNDS | {"accuracy": accuracy_bound(reference)}
    found = differences(of_cell["bf16"], reference)
    beyond = [name for name in BOUNDS if not found[name] <= bounds[name]]
    if beyond and "other seed" in of_cell:
        seed = differences(of_cell["other seed"], reference)
        outside = [name for name in beyond if not found[name] <= seed[name]]
        if not outside:
            return f"within bounds, but for {', '.join(beyond)}: less than another seed changes"
        beyond = outside
    return f"outside: {', '.join(beyond)}" if beyond else "within bounds"


def tabulate(runs: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> Table:
    rows = []
    for cell, of_cell in runs.items():
        for name, run in of_cell.items():
            cells = [cell, name, f"{run['first_loss']:.4f}", f"{run['last_loss']:.4f}"]
            cells += [f"{run['accuracy']:.1%}", f"{run['norm']:.3f}", f"{run['std']:.4f}"]
            if name == "fp32":
                rows.append((*cells, ""))
                continue
            found = differences(run, of_cell["fp32"])
            keys = ("first_loss", "last_loss", "accuracy", "norm", "std")
            for place, key in enumerate(keys, start=2):
                points = " points" if key == "accuracy" else " %"
                cells[place] += f" (Δ {100 * found[key]:.2g}{points})"
            rows.append((*cells, verdict(of_cell) if name == "bf16" else ""))
    bounds = ", ".join(f"{name} {bound:.0%}" for name, bound in BOUNDS.items())
    title = (
        f"bf16 against fp32 over {arguments.steps} steps; bounds: {bounds} (of the accuracy: "
        f"points, or {ERRORS_OF_ACCURACY} standard errors where that is more)"
    )
    columns = ("cell", "run", "first loss", f"loss of the last {NUM_LAST} steps")
    columns += ("validation accuracy", "embeddings' norm", "embeddings' std", "verdict")
    return Table(title, columns, rows)


if __name__ == "__main__":
    main()
