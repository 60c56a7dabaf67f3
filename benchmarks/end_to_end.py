"""Training end to end, sslbench against the naive design, for every model and method.

    python -m benchmarks.end_to_end --models resnet18 --methods barlow

Data, augmentation, forward, backward, optimizer and metrics, on the same images. Each run has a
process of its own, as allocator, threads and memory would leak from one to the other; runs are
interleaved, and figures are medians. The ratio is the median of those of neighbouring runs.

Images are counted as labelled + unlabelled images per step, not as views. FLOPs per step are 3 x
an image's forward FLOPs for each view with gradients (forward, and twice that backward), and 1 x
for the weak view's pass without gradients (method.weak_pass=separate; a joint pass has gradients).
Augmentation, loss and optimizer are not counted. The ceiling is a matrix product in the precision
that sslbench chose, measured in the same process right after the steps.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command import add_cells_options, command_parser, data_overrides
from benchmarks.measure import (
    forward_flops,
    interleave,
    machine,
    matmul_gflops,
    peak_memory_gb,
    run_module,
    spread,
    time_steps,
)

if TYPE_CHECKING:
    from sslbench.config.settings import Settings

DESIGNS = ("naive", "ours")
QUICK_MATMUL_SIDE = 512
HEADER = (
    "| model | method | naive, img/s | ours, img/s | ratio (quartiles) | ours, GFLOP/s "
    "| of the ceiling | peak memory, naive / ours |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    arguments = parse_arguments()
    if arguments.part:
        print(json.dumps(run_design(arguments)))
        return
    try:
        compare_all(arguments)
    except RuntimeError as error:
        sys.exit(str(error))


def compare_all(arguments: argparse.Namespace) -> None:
    """Print the table row by row, and write the runs where they are wanted."""
    facts = run_alone("machine", arguments.models[0], arguments.methods[0], arguments)
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    print(f"- command: `python -m benchmarks.end_to_end {' '.join(sys.argv[1:])}`\n\n{HEADER}")
    rows = []
    for model in arguments.models:
        for method in arguments.methods:
            rows.append(compare(model, method, arguments))
            print(to_markdown(rows[-1]), flush=True)
    if arguments.json:
        report = {"machine": facts, "arguments": vars(arguments), "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=1, default=str) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = command_parser("end_to_end", __doc__)
    add_cells_options(parser)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each design")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    parser.add_argument("--workers", type=int, default=2, help="of each of the naive DataLoaders")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of both designs"
    )
    arguments = parser.parse_args()
    if arguments.repeats < 1 or arguments.workers < 0 or arguments.seconds <= 0:
        parser.error("--repeats must be at least 1, --workers 0 or more, --seconds positive")
    if arguments.quick:
        arguments.repeats, arguments.seconds = 1, 0.2
    return arguments


def run_alone(
    design: str, model: str, method: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run a design in a process of its own."""
    words = ["--part", design, "--models", model, "--methods", method]
    words += ["--seconds", str(arguments.seconds), "--workers", str(arguments.workers)]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root.resolve())]
    for override in arguments.set:
        words += ["--set", override]
    return run_module("benchmarks.end_to_end", *words, *["--quick"] * arguments.quick)


def compare(model: str, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both designs in turn and summarise their runs."""
    runs = interleave(
        {design: partial(run_alone, design, model, method, arguments) for design in DESIGNS},
        arguments.repeats,
    )

    def median_of(design: str, key: str) -> float:
        return spread([run[key] for run in runs[design]]).median

    pairs = zip(runs["naive"], runs["ours"], strict=True)
    ratios = [ours["images_per_s"] / naive["images_per_s"] for naive, ours in pairs]
    return {
        "model": model,
        "method": method,
        "naive_images_per_s": median_of("naive", "images_per_s"),
        "ours_images_per_s": median_of("ours", "images_per_s"),
        "ratio": spread(ratios)._asdict(),
        "ours_gflops": median_of("ours", "gflops"),
        "share_of_ceiling": spread([run["gflops"] / run["ceiling"] for run in runs["ours"]]).median,
        "precision": runs["ours"][0]["precision"],
        "naive_peak_gb": median_of("naive", "peak_gb"),
        "ours_peak_gb": median_of("ours", "peak_gb"),
        "runs": runs,
    }


def to_markdown(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    cells = (
        row["model"],
        row["method"],
        f"{row['naive_images_per_s']:.1f}",
        f"{row['ours_images_per_s']:.1f}",
        f"x{ratio['median']:.2f} ({ratio['lower']:.2f} to {ratio['upper']:.2f})",
        f"{row['ours_gflops']:.0f}",
        f"{row['share_of_ceiling']:.0%} of {row['precision']}",
        f"{row['naive_peak_gb']:.2f} / {row['ours_peak_gb']:.2f} GB",
    )
    return f"| {' | '.join(cells)} |"


def run_design(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one design in this process, or the machine and its ceilings."""
    from sslbench.engine.device import choose_device, use_threads

    settings = compose(arguments)
    use_threads(settings.threads)
    if arguments.part == "naive":
        return run_naive(settings, arguments)
    if arguments.part == "ours":
        return run_ours(settings, arguments)
    device = choose_device(settings.device)
    ceilings = {
        f"ceiling {precision}, GFLOP/s": f"{measure_ceiling(precision, device, arguments):.0f}"
        for precision in ("fp32", "bf16")
    }
    return machine() | ceilings


def compose(arguments: argparse.Namespace) -> "Settings":
    """Compose the settings of a run as the command line composes them."""
    from sslbench.config.compose import compose_settings

    method = arguments.methods[0]
    overrides = [f"model={arguments.models[0]}", f"method={method}"]
    overrides += data_overrides(arguments.data_root)
    if arguments.quick:
        overrides += ["method.batch_size=8"]
        overrides += ["method.unlabeled_batch_size=16"] * (method == "semi")
    return compose_settings(overrides + arguments.set)


def run_naive(settings: "Settings", arguments: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.baseline.naive import NaiveTrainer
    from sslbench.data import open_dataset
    from sslbench.engine.device import choose_device

    device = choose_device(settings.device)
    dataset = open_dataset(settings.data, Path(settings.outputs))
    trainer = NaiveTrainer(settings, dataset, workers=arguments.workers, device=device)
    pace = time_steps(trainer.step, seconds=arguments.seconds, device=device)
    return {
        "images_per_s": trainer.images_per_step * pace.steps / pace.seconds,
        "steps": pace.steps,
        "peak_gb": peak_memory_gb(device),
    }


def run_ours(settings: "Settings", arguments: argparse.Namespace) -> dict[str, Any]:
    from itertools import count

    from sslbench.build import build
    from sslbench.cell.resume import Standing
    from sslbench.engine.kernels import asked_for, use_kernels

    training = build(settings)
    flops = step_flops(settings, forward_flops(training.method.encoder))
    kernels = asked_for(settings)
    use_kernels(training, kernels, Standing())
    training.method.train()
    numbers = count()
    pace = time_steps(
        lambda: training.take_step(next(numbers)), seconds=arguments.seconds, device=training.device
    )
    return {
        "images_per_s": training.feed.images_per_step * pace.steps / pace.seconds,
        "steps": pace.steps,
        "peak_gb": peak_memory_gb(training.device),
        "precision": training.precision,
        **kernels,
        "gflops": flops * pace.steps / pace.seconds / 1e9,
        "ceiling": measure_ceiling(training.precision, training.device, arguments),
    }


def measure_ceiling(precision: str, device: Any, arguments: argparse.Namespace) -> float:
    options = {"side": QUICK_MATMUL_SIDE, "seconds": 0.1} if arguments.quick else {}
    return matmul_gflops(precision, device, **options)


def step_flops(settings: "Settings", flops_per_image: int) -> int:
    """Return the FLOPs of one of sslbench's steps, counted as this module's docstring says."""
    method = settings.method
    streams = method.streams(settings.ratio)
    passes = sum(3 * len(stream.views) * stream.batch_size for stream in streams)
    if getattr(method, "weak_pass", None) == "separate":
        passes -= 2 * sum(stream.batch_size for stream in streams if "weak" in stream.views)
    return passes * flops_per_image


if __name__ == "__main__":
    main()
