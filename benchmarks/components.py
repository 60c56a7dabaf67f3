"""Each component apart, from augmentation and convolutions to t-SNE and report.

    python -m benchmarks.components --only augment,step

Each figure is the median over interleaved runs, each in a process of its own. Peak memory is that
process's, torch and the data included. Augmentation is `view_a` of Barlow Twins on batches of 128;
convolutions are 3x3 layers of stride 1 of the residual networks on 128 images, forward and both
gradients; steps have the method's own batch size and count images as benchmarks.end_to_end does.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command import METHODS, MODELS, Table, command_parser, names, print_tables
from benchmarks.command import scratch_folder as scratch
from benchmarks.measure import interleave, peak_memory_gb, run_module, spread, time_steps

if TYPE_CHECKING:
    import torch

    from sslbench.build import Parts

AUGMENTERS = ("pil", "kornia", "torch", "kernel")
SIDE_OF_CHANNELS = {32: 48, 64: 24, 128: 12, 256: 6, 512: 3}
"""Where the residual networks have layers of so many channels; the first is WRN-45-2's alone."""
GROUPS = {
    "augment": [f"augment {name}" for name in AUGMENTERS],
    **{
        f"conv{channels}": [
            f"conv{channels} {precision} {kind}"
            for precision in ("fp32", "bf16")
            for kind in ("torch", "ours")
        ]
        for channels in SIDE_OF_CHANNELS
    },
    "step": [f"step {method} {kind}" for method in METHODS for kind in ("whole", "alone", "data")],
    "checkpoint": ["checkpoint save", "checkpoint load"],
    "evaluate": [f"evaluate {model}" for model in MODELS],
    "probe": ["probe linear", "probe knn"],
    "tsne": ["tsne 1000 x 512"],
    "report": ["report tables", "report figures"],
}
NUM_POINTS, NUM_QUERIES, DIM = 5000, 8000, 512


def main() -> None:
    parser = command_parser("components", __doc__)
    known = tuple(GROUPS)
    parser.add_argument("--only", type=names(known), default=known, metavar="A,B")
    parser.add_argument("--model", choices=MODELS, default="resnet18", help="of the steps")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--cells", type=int, default=100, help="of the report")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.seconds, arguments.cells = 1, 0.1, 4
    if arguments.part:
        print(json.dumps(measure_part(arguments.part.split(), arguments)))
        return
    tables, runs = [], {}
    for group in arguments.only:
        parts = parts_of(group, quick=arguments.quick)
        runs |= interleave(
            {part: partial(run_alone, part, arguments) for part in parts}, arguments.repeats
        )
        tables.append(tabulate(group, {part: runs[part] for part in parts}))
    print_tables(tables, arguments, runs=runs)


def parts_of(group: str, *, quick: bool) -> list[str]:
    """Return a group's parts, without kornia where it is not installed; one in a quick check."""
    from importlib.util import find_spec

    parts = GROUPS[group][:1] if quick and group != "augment" else GROUPS[group]
    return [part for part in parts if part != "augment kornia" or find_spec("kornia")]


def run_alone(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = ["--part", part, "--model", arguments.model, "--seconds", str(arguments.seconds)]
    words += ["--cells", str(arguments.cells)] + ["--quick"] * arguments.quick
    return run_module("benchmarks.components", *words)


def tabulate(group: str, runs: dict[str, list[dict[str, Any]]]) -> Table:
    """One row a part, with its ratio to the group's first, above 1 where it is faster."""
    rows = []
    first = next(iter(runs.values()))
    for part, of_part in runs.items():
        value = spread([run["value"] for run in of_part])
        faster = value.median / spread([run["value"] for run in first]).median
        if of_part[0]["unit"] != "img/s":
            faster = 1 / faster
        rows.append(
            (
                part,
                f"{value.median:,.4g} {of_part[0]['unit']}",
                f"{value.lower:,.4g} to {value.upper:,.4g}",
                f"x{faster:.2f}",
                f"{spread([run['peak_gb'] for run in of_part]).median:.2f} GB",
            )
        )
    columns = ("part", "median", "quartiles", f"against {next(iter(runs))}", "peak memory")
    return Table(group, columns, rows)


def measure_part(words: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a part in this process, on the device that sslbench chooses."""
    from sslbench.engine.device import choose_device, keep_freed_memory, use_threads

    keep_freed_memory()
    use_threads(None)
    group, *rest = words
    measure: Callable[..., tuple[float, str]] = {
        "augment": augment,
        **{f"conv{channels}": partial(convolve, channels) for channels in SIDE_OF_CHANNELS},
        "step": take_steps,
        "checkpoint": move_checkpoint,
        "evaluate": evaluate,
        "probe": probe,
        "tsne": project,
        "report": report,
    }[group]
    value, unit = measure(*rest, arguments=arguments)
    return {"value": value, "unit": unit, "peak_gb": peak_memory_gb(choose_device("auto"))}


def images_per_second(
    step: Callable[[], object],
    num_images: int,
    arguments: argparse.Namespace,
    device: "torch.device",
) -> tuple[float, str]:
    pace = time_steps(step, seconds=arguments.seconds, device=device)
    return num_images * pace.steps / pace.seconds, "img/s"


def seconds_of(function: Callable[[], object]) -> tuple[float, str]:
    """Time one call; a call before it would fill caches that users do not have."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began, "s"


def build(*overrides: str, arguments: argparse.Namespace) -> "Parts":
    from sslbench.build import build_parts
    from sslbench.config.presets import compose_settings

    small = ["method.batch_size=8"] * arguments.quick
    return build_parts(compose_settings(["data=digits", "tracking=off", *overrides, *small]))


def augment(kind: str, arguments: argparse.Namespace) -> tuple[float, str]:
    import torch

    from benchmarks.baseline.naive import build_transform, to_pil
    from sslbench.build import build_views
    from sslbench.config.presets import compose_settings
    from sslbench.data import open_dataset
    from sslbench.engine.device import choose_device

    settings = compose_settings(["data=digits", "method=barlow"])
    view = settings.augmentation.view_a
    dataset = open_dataset(settings.data, Path(settings.outputs))
    device = choose_device("cpu" if kind == "pil" else "auto")
    num_images = 8 if arguments.quick else 128
    stored = dataset.unlabeled_images[:num_images]
    images = torch.tensor(stored, device=device)

    if kind == "pil":
        transform = build_transform(view, dataset.mean, dataset.std)

        def step() -> object:
            return torch.stack([transform(to_pil(image)) for image in stored])

    elif kind == "kornia":
        pipeline = kornia_pipeline(view, dataset.mean, dataset.std)

        def step() -> object:
            return pipeline(images.float() / 255)

    else:
        random_view = build_views(settings.augmentation, dataset, device)[0]
        generator = torch.Generator()
        if kind == "torch":
            os.environ["CC"] = "no-compiler"

        def step() -> object:
            params = random_view.sample(generator, num_images)
            return random_view.apply(
                images, {name: value.to(device) for name, value in params.items()}
            )

    with torch.no_grad():
        return images_per_second(step, num_images, arguments, device)


def convolve(
    channels: int, precision: str, kind: str, arguments: argparse.Namespace
) -> tuple[float, str]:
    import torch
    from torch import nn

    from sslbench.engine.device import autocast
    from sslbench.models.convolution import Conv3x3

    device, side = torch.device("cpu"), SIDE_OF_CHANNELS[channels]
    theirs = partial(nn.Conv2d, kernel_size=3, padding=1, bias=False)
    layer = {"torch": theirs, "ours": Conv3x3}[kind](channels, channels)
    layer.to(memory_format=torch.channels_last)
    num_images = 8 if arguments.quick else 128
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(num_images, channels, side, side).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn_like(images)
    in_precision = autocast(precision, device)

    def step() -> object:
        with in_precision():
            result = layer(images)
        return torch.autograd.grad(result, (images, layer.weight), gradient)

    return images_per_second(step, num_images, arguments, device)


def kornia_pipeline(view: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    import torch
    from kornia import augmentation as K

    operations = [
        K.RandomResizedCrop((96, 96), tuple(view.crop_scale), tuple(view.crop_ratio), p=view.crop),
        K.RandomHorizontalFlip(view.flip),
        K.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue, p=view.jitter),
        K.RandomGrayscale(p=view.grayscale),
        K.RandomGaussianBlur((view.blur_kernel,) * 2, tuple(view.blur_sigma), p=view.blur),
        K.RandomSolarize(0.0, 0.0, p=view.solarize),
        K.Normalize(torch.tensor(mean), torch.tensor(std)),
    ]
    return K.AugmentationSequential(*operations, same_on_batch=False)


class FixedFeed:
    """One batch for all steps, so that a step costs no data."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def to_device(self, draw: dict[str, Any]) -> dict[str, Any]:
        return draw

    def assemble(self, draw: dict[str, Any]) -> dict[str, Any]:
        return self.batch


def take_steps(method: str, kind: str, arguments: argparse.Namespace) -> tuple[float, str]:
    from itertools import count

    from sslbench.engine.device import autocast
    from sslbench.engine.step import EagerStep

    parts = build(f"model={arguments.model}", f"method={method}", arguments=arguments)
    feed, numbers = parts.feed, count()
    parts.method.train()

    def whole() -> object:
        return parts.take_step(feed.draw(next(numbers)), 1e-3)

    def data() -> object:
        return feed.assemble(feed.to_device(feed.draw(next(numbers))))

    fixed = FixedFeed(feed.assemble(feed.to_device(feed.draw(0))))
    in_precision = autocast(parts.precision, parts.device)
    eager = EagerStep(parts.method, parts.optimizer, fixed, in_precision, 0.0)
    step = {"whole": whole, "alone": lambda: eager({}, 1e-3), "data": data}[kind]
    return images_per_second(step, feed.images_per_step, arguments, parts.device)


def move_checkpoint(direction: str, arguments: argparse.Namespace) -> tuple[float, str]:
    """Of ResNet18 with Adam's moments, as the loop saves and resumes it."""
    from sslbench import checkpoint

    parts = build("model=resnet18", "method.batch_size=8", arguments=arguments)
    parts.take_step(parts.feed.draw(0), 1e-3)
    with scratch() as folder:
        path = folder / checkpoint.LAST

        def save() -> None:
            state = {
                "method": parts.method.state_dict(),
                "optimizer": parts.optimizer.state_dict(),
            }
            checkpoint.save(path, state)

        def load() -> None:
            state = checkpoint.load(path)
            parts.method.load_state_dict(state["method"])
            checkpoint.load_optimizer(parts.optimizer, state["optimizer"])

        save()
        seconds, _ = seconds_of(save if direction == "save" else load)
        return seconds, f"s ({path.stat().st_size / 1e6:.0f} MB)"


def evaluate(model: str, arguments: argparse.Namespace) -> tuple[float, str]:
    parts = build(f"model={model}", arguments=arguments)
    split = parts.images.val if arguments.quick else parts.images.test
    encoder = parts.method.evaluated_encoder

    def embed() -> object:
        return parts.evaluator.embed_split(encoder, split)

    return images_per_second(embed, len(split), arguments, parts.device)


def clustered_features(num_points: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """`(n, 512)` float32 around ten centres that overlap, and `(n,)` labels."""
    import torch

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, DIM, generator=generator) / 8
    labels = torch.arange(num_points) % 10
    return centres[labels] + torch.randn(num_points, DIM, generator=generator), labels


def probe(kind: str, arguments: argparse.Namespace) -> tuple[float, str]:
    from sslbench.engine.device import choose_device
    from sslbench.evaluate.probe import fit_linear_probe, knn_predict

    device = choose_device("auto")
    features, labels = (
        part.to(device) for part in clustered_features(200 if arguments.quick else NUM_POINTS)
    )
    queries = clustered_features(100 if arguments.quick else NUM_QUERIES)[0].to(device)
    if kind == "linear":
        fit_linear_probe(features[:50], labels[:50], 1.0)  # scikit-learn takes 2 s to import
        return seconds_of(lambda: fit_linear_probe(features, labels, 1.0))
    return seconds_of(lambda: knn_predict(features, labels, queries, 200).cpu())


def project(*_: str, arguments: argparse.Namespace) -> tuple[float, str]:
    from sslbench.evaluate.projection import project_tsne

    features = clustered_features(60 if arguments.quick else 1000)[0].numpy()
    project_tsne(features[:60])  # scikit-learn's import
    return seconds_of(lambda: project_tsne(features))


def report(kind: str, arguments: argparse.Namespace) -> tuple[float, str]:
    """Over made-up cells with curves and embeddings; the imports are counted."""
    from benchmarks.growth import make_cells
    from sslbench.report import make_report, read_cells

    with scratch() as outputs:
        make_cells(outputs, arguments.cells)

        def build_and_write() -> None:
            make_report(read_cells(outputs), with_figures=kind == "figures")

        return seconds_of(build_and_write)


if __name__ == "__main__":
    main()
