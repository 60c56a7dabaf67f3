"""How much work encoders are and how fast this machine is, in a process beside the planning.

Importing torch and torchvision takes as long as all the rest of a dry run.
"""

import multiprocessing
import time
from dataclasses import dataclass
from functools import cache
from multiprocessing.pool import Pool
from statistics import median

from sslbench.config.parts import IMAGE_SIDE, Model

PASSES_PER_STEP = 3
"""Forward, and twice that backward."""
RATE_SECONDS = 0.3


@dataclass(frozen=True)
class Work:
    """Of one image's forward pass: floating-point operations, and values that layers put out."""

    flops: int
    outputs: int
    weights: int


@dataclass(frozen=True)
class Rate:
    """FLOP/s of a GPU, or of one core."""

    flops_per_second: float
    of_gpu: bool
    precision: str
    """`bf16` or `fp32`."""


def start_measuring() -> Pool:
    """Start the process that `measure_rate` and `count_work` are to be called in.

    It measures the rate at once, to have it by the time it is asked for.
    """
    process = multiprocessing.get_context("spawn").Pool(1)
    process.apply_async(measure_rate, ("auto",))
    return process


def count_work(model: Model) -> Work:
    """Count an encoder's work for one image: of its convolutions and linear layers."""
    import torch
    from torch import nn

    with torch.device("meta"):  # no weights are drawn, nothing is computed
        encoder = model.build().eval()
        image = torch.empty(1, 3, IMAGE_SIDE, IMAGE_SIDE)
    sizes, flops = [], []

    def count(module: nn.Module, given: tuple, output: torch.Tensor) -> None:
        sizes.append(output.numel())
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() > 1:
            flops.append(2 * output.numel() * weight[0].numel())

    for module in encoder.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    encoder(image)
    return Work(sum(flops), sum(sizes), sum(it.numel() for it in encoder.parameters()))


@cache
def measure_rate(precision: str) -> Rate:
    """Measure the rate of a residual network's typical layer, forward and backward.

    On a GPU, or on one core: threads beside another program wait for each other, many times longer
    than what they wait for takes.
    """
    import torch
    import torchvision.models  # noqa: F401  most encoders need it soon
    from torch import nn

    from sslbench.engine import device as hardware

    hardware.keep_freed_memory()
    hardware.use_threads(1)
    device = hardware.choose_device("auto")
    precision = hardware.choose_precision(precision, device)
    channels, side, num_images = 64, 24, 64
    layer = nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    ).to(device, memory_format=torch.channels_last)
    images = torch.randn(num_images, channels, side, side, device=device)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    in_precision = hardware.autocast(precision, device)

    def seconds_of_step() -> float:
        began = time.perf_counter()
        with in_precision():
            loss = layer(images).float().sum()
        loss.backward()
        images.grad.sum().item()  # waits for the device
        return time.perf_counter() - began

    seconds_of_step()
    took = [seconds_of_step()]
    while sum(took) < RATE_SECONDS:
        took.append(seconds_of_step())
    num_flops = PASSES_PER_STEP * 2 * 9 * channels**2 * side**2 * num_images
    return Rate(num_flops / median(took), device.type == "cuda", precision)
