"""Barlow Twins with ResNet18 on the same images: sslbench against lightly's documented loop.

    python -m benchmarks.peer --repeats 5

Batches of 128, images of 96x96, projector 2048-2048-2048. lightly's loop is as its example has it:
PIL images, BYOL's augmentations, float32, SGD, a DataLoader; its other settings are sslbench's.
Each run has a process of its own, runs are interleaved, figures are medians.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.command import Table, command_parser, data_overrides, print_tables
from benchmarks.measure import (
    MIN_WARM_UP_STEPS,
    interleave,
    peak_memory_gb,
    run_module,
    spread,
    time_steps,
)

PEER = "lightly"
INSTALL = 'pip install --constraint constraints.txt --editable ".[bench]"'
PROJECTOR_WIDTH = 2048


def main() -> None:
    parser = command_parser("peer", __doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--data-root", type=Path, help="folder of a set in STL-10's layout; default: digits"
    )
    arguments = parser.parse_args()
    if find_spec(PEER) is None:
        sys.exit(f"{PEER} is not installed; to measure against it:\n    {INSTALL}")
    if arguments.quick:
        arguments.repeats, arguments.seconds, arguments.batch_size = 1, 0.1, 8
    if arguments.part:
        print(json.dumps(run_part(arguments.part.split(), arguments)))
        return
    candidates = ("lightly 0", "lightly 2", "ours fp32", "ours auto")
    runs = interleave(
        {part: partial(run_alone, part, arguments) for part in candidates}, arguments.repeats
    )
    print_tables([tabulate(runs)], arguments, runs=runs)


def run_alone(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = ["--part", part, "--seconds", str(arguments.seconds)]
    words += ["--batch-size", str(arguments.batch_size)]
    if arguments.data_root:
        words += ["--data-root", str(arguments.data_root)]
    return run_module("benchmarks.peer", *words)


def tabulate(runs: dict[str, list[dict[str, Any]]]) -> Table:
    rows = []
    for of_part in runs.values():
        rates = [run["images_per_s"] for run in of_part]
        pairs = zip(rates, (run["images_per_s"] for run in runs["lightly 2"]), strict=True)
        ratio = spread([ours / theirs for ours, theirs in pairs])
        peak = spread([run["peak_gb"] for run in of_part]).median
        rows.append(
            (
                of_part[0]["name"],
                f"{spread(rates).median:.1f}",
                f"x{ratio.median:.2f} ({ratio.lower:.2f} to {ratio.upper:.2f})",
                f"{peak:.2f} GB",
            )
        )
    columns = ("", "img/s", "against lightly with 2 workers (quartiles)", "peak memory")
    return Table("Barlow Twins, ResNet18", columns, rows)


def run_part(words: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one candidate in this process: `lightly <workers>` or `ours <precision>`."""
    from sslbench.config.compose import compose_settings

    who, choice = words
    overrides = ["model=resnet18", "method=barlow", f"method.batch_size={arguments.batch_size}"]
    overrides += [f"method.projector={[PROJECTOR_WIDTH] * 3}".replace(" ", "")]
    overrides += [*data_overrides(arguments.data_root)]
    if who == PEER:
        step, device = lightly_step(compose_settings(overrides), int(choice))
        name = f"lightly, {choice} workers"
    else:
        overrides += [f"precision={choice}"]
        step, device, precision = our_step(compose_settings(overrides))
        name = f"sslbench, {precision}"
    for _ in range(MIN_WARM_UP_STEPS[device.type]):  # before the clock of the timed warm-up
        step()
    pace = time_steps(step, seconds=arguments.seconds, device=device)
    rate = arguments.batch_size * pace.steps / pace.seconds
    return {"name": name, "images_per_s": rate, "peak_gb": peak_memory_gb(device)}


def our_step(settings: Any) -> tuple[Any, Any, str]:
    from itertools import count

    from sslbench.build import build

    training, steps = build(settings), count()
    training.method.train()
    return lambda: training.take_step(next(steps)), training.device, training.precision


def lightly_step(settings: Any, workers: int) -> tuple[Any, Any]:
    """Return a step of the loop that lightly's documentation shows for Barlow Twins."""
    import torch
    import torchvision
    from lightly.loss import BarlowTwinsLoss
    from lightly.models.modules import BarlowTwinsProjectionHead
    from lightly.transforms.byol_transform import (
        BYOLTransform,
        BYOLView1Transform,
        BYOLView2Transform,
    )
    from torch import nn

    from sslbench.data import open_dataset
    from sslbench.engine.device import choose_device, use_threads

    use_threads(settings.threads)
    device = choose_device(settings.device)
    transform = BYOLTransform(
        view_1_transform=BYOLView1Transform(input_size=96),
        view_2_transform=BYOLView2Transform(input_size=96),
    )
    stored = open_dataset(settings.data, Path(settings.outputs)).files.images["unlabeled"]
    loader = torch.utils.data.DataLoader(
        TransformedImages(stored, transform),
        batch_size=settings.method.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
    width = PROJECTOR_WIDTH
    model = nn.Sequential(backbone, nn.Flatten(), BarlowTwinsProjectionHead(512, width, width)).to(
        device
    )
    criterion = BarlowTwinsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)
    batches = endless(loader)

    def step() -> None:
        view_a, view_b = (view.to(device) for view in next(batches))
        loss = criterion(model(view_a), model(view_b))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, device


class TransformedImages:
    """A map-style data set: PIL images through lightly's transform, which gives two views."""

    def __init__(self, images: Any, transform: Any) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Any:
        from benchmarks.baseline.naive import to_pil

        return self.transform(to_pil(self.images[position]))


def endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


if __name__ == "__main__":
    main()
