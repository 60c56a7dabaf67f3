"""bf16 against fp32: the same seeds, the same draws, the same number of steps.

    python -m benchmarks.precision --models resnet18 --seeds 0,1,2

Compared are the first step's loss, the mean loss of the last 20 steps, the accuracy on the
validation images after the last step, and the embeddings of these: their mean norm and their
deviation, averaged over dimensions. After some steps two runs part as any two runs do whose sums
are rounded differently. How far, a third run says: fp32 again, its first weights nudged by one part
in a million, or by as much as `--nudge` says (bf16 itself rounds to one part in 256). What bf16
changes less than that nudge does is no fault of its precision. Each run has a process of its own.
"""

import argparse
import json
import math
from statistics import median
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

Run = dict[str, Any]
Runs = list[Run]
"""One for each seed."""

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
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0]
    )
    parser.add_argument("--nudge", type=float, default=1e-6)
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


def run_all(model: str, method: str, arguments: argparse.Namespace) -> dict[str, Runs]:
    """Run a cell in both precisions and nudged, from each seed."""
    words = ["--steps", str(arguments.steps), "--batch-size", str(arguments.batch_size)]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root)]
    words += ["--quick"] * arguments.quick
    kinds = {"fp32": ("fp32", 0.0), "bf16": ("bf16", 0.0), "nudged": ("fp32", arguments.nudge)}
    found: dict[str, Runs] = {name: [] for name in kinds}
    for seed in arguments.seeds:
        for name, (precision, nudge) in kinds.items():
            part = f"{model} {method} {precision} {seed} {nudge}"
            found[name].append(run_module("benchmarks.precision", "--part", part, *words))
    return found


def train(words: list[str], arguments: argparse.Namespace) -> Run:
    """Train one run here, as the loop does, and measure it."""
    import torch

    from sslbench.build import build
    from sslbench.config.compose import compose_settings
    from sslbench.evaluate.cell import evaluate
    from sslbench.randomness import derive_seed

    model, method_name, precision, seed, nudge = words
    overrides = [f"model={model}", f"method={method_name}", f"precision={precision}"]
    overrides += [f"seed={seed}", f"steps={arguments.steps}", *data_overrides(arguments.data_root)]
    overrides += [f"method.batch_size={arguments.batch_size}"]
    if method_name == "semi":
        overrides += [f"method.unlabeled_batch_size={2 * arguments.batch_size}"]
    if model.startswith("wrn"):
        overrides += [WRN_IN_A_SHORT_RUN]
    settings = compose_settings(overrides)
    training = build(settings)
    method = training.method.train()
    generator = torch.Generator().manual_seed(int(seed))
    with torch.no_grad():
        for weights in method.parameters():
            noise = torch.randn(weights.shape, generator=generator).to(weights.device)
            weights.mul_(1 + float(nudge) * noise)
    losses = []
    for step in range(arguments.steps):
        torch.manual_seed(derive_seed(settings.seed, "dropout", step))
        metrics = training.take_step(step)
        losses.append(metrics["loss"].clone())
    curve = torch.stack(losses).float().tolist()

    found = evaluate(training, ("val",))["val"]
    last = curve[-NUM_LAST:]
    return {
        "first_loss": curve[0],
        "last_loss": sum(last) / len(last),
        "accuracy": found.score.accuracy,
        "num_val": len(found.labels),
        "norm": found.embeddings.norm(dim=1).mean().item(),
        "std": found.embeddings.std(0).mean().item(),
        "curve": curve,
    }


def differences(run: Run, reference: Run) -> dict[str, float]:
    """Return absolute differences, relative to the reference but for the accuracy."""
    found = {}
    for name in BOUNDS:
        scale = abs(reference[name])
        if name == "last_loss":  # near zero a relative difference says nothing
            scale = max(scale, abs(reference["first_loss"]) / 10)
        difference = abs(run[name] - reference[name])
        found[name] = difference if name == "accuracy" else difference / max(scale, 1e-12)
    return found


def accuracy_bound(reference: Run) -> float:
    accuracy = reference["accuracy"]
    error = math.sqrt(2 * accuracy * (1 - accuracy) / reference["num_val"])
    return max(BOUNDS["accuracy"], ERRORS_OF_ACCURACY * error)


def median_differences(runs: Runs, references: Runs) -> dict[str, float]:
    """Return the medians, over seeds, of the differences of runs of one seed; inf if one is NaN."""
    found = [differences(run, other) for run, other in zip(runs, references, strict=True)]
    by_name = {name: [each[name] for each in found] for name in BOUNDS}
    return {
        name: median(values) if all(map(math.isfinite, values)) else math.inf
        for name, values in by_name.items()
    }


def verdict(of_cell: dict[str, Runs]) -> str:
    """Say whether bf16 parts from fp32 by more than the bounds, and more than any nudge does."""
    references = of_cell["fp32"]
    bounds = BOUNDS | {"accuracy": median(map(accuracy_bound, references))}
    found = median_differences(of_cell["bf16"], references)
    beyond = [name for name in BOUNDS if not found[name] <= bounds[name]]
    pairs = list(zip(of_cell["nudged"], references, strict=True))
    nudged = {name: max(differences(*pair)[name] for pair in pairs) for name in BOUNDS}
    outside = [name for name in beyond if not found[name] <= nudged[name]]
    if outside:
        return f"outside: {', '.join(outside)}"
    return f"within, but for {', '.join(beyond)}: no more than a nudge" if beyond else "within"


def tabulate(cells: dict[str, dict[str, Runs]], arguments: argparse.Namespace) -> Table:
    rows = []
    for cell, of_cell in cells.items():
        for name, runs in of_cell.items():
            of_run = {key: median(run[key] for run in runs) for key in BOUNDS}
            texts = [f"{of_run['first_loss']:.4f}", f"{of_run['last_loss']:.4f}"]
            texts += [f"{of_run['accuracy']:.1%}", f"{of_run['norm']:.3f}", f"{of_run['std']:.4f}"]
            if name != "fp32":
                found = median_differences(runs, of_cell["fp32"])
                for place, key in enumerate(BOUNDS):
                    unit = "points" if key == "accuracy" else "%"
                    texts[place] += f" (Δ {100 * found[key]:.2g} {unit})"
            rows.append((cell, name, *texts, verdict(of_cell) if name == "bf16" else ""))
    bounds = ", ".join(f"{name} {bound:.0%}" for name, bound in BOUNDS.items())
    title = (
        f"bf16 against fp32 over {arguments.steps} steps, medians over {len(arguments.seeds)} "
        f"seed(s); bounds: {bounds} (of the accuracy: points, or {ERRORS_OF_ACCURACY} standard "
        "errors where that is more)"
    )
    columns = ("cell", "run", "first loss", f"loss of the last {NUM_LAST} steps")
    columns += ("validation accuracy", "embeddings' norm", "embeddings' std", "verdict")
    return Table(title, columns, rows)


if __name__ == "__main__":
    main()
