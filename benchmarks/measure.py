"""Measuring side by side: interleaved runs, medians, ceilings, FLOPs and peak memory.

torch is imported where it is used, so that the commands' --help answers at once.
"""

import copy
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
ALLOCATOR_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
MATMUL_SIDE = 4096
MIN_STEPS = 2
# The first step compiles and chooses kernels; on a GPU the first ones are there to be captured.
MIN_WARM_UP_STEPS = {"cpu": 2, "cuda": 6}


class Spread(NamedTuple):
    """Median and quartiles of repeated measurements."""

    median: float
    lower: float
    upper: float


class Pace(NamedTuple):
    """How long so many steps took together."""

    steps: int
    seconds: float


def spread(values: list[float]) -> Spread:
    """Summarise measurements; the quartiles of a single one are itself."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


def interleave(
    candidates: Mapping[str, Callable[[], Result]], repeats: int
) -> dict[str, list[Result]]:
    """Run all candidates in turn, `repeats` times: A B A B, so that drift meets all alike."""
    results: dict[str, list[Result]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, measure in candidates.items():
            results[name].append(measure())
    return results


def time_steps(
    step: Callable[[], object],
    *,
    seconds: float,
    device: "torch.device",
) -> Pace:
    """Warm up for a quarter of `seconds`, then take steps for `seconds`."""
    _repeat(step, seconds / 4, MIN_WARM_UP_STEPS[device.type], device)
    return _repeat(step, seconds, MIN_STEPS, device)


def _repeat(
    step: Callable[[], object], seconds: float, min_steps: int, device: "torch.device"
) -> Pace:
    synchronize(device)
    began, steps = time.perf_counter(), 0
    while steps < min_steps or time.perf_counter() - began < seconds:
        step()
        steps += 1
    synchronize(device)
    return Pace(steps, time.perf_counter() - began)


def synchronize(device: "torch.device") -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def matmul_gflops(
    precision: str, device: "torch.device", *, side: int = MATMUL_SIDE, seconds: float = 1.0
) -> float:
    """Measure the ceiling: GFLOP/s of a square matrix product in `fp32` or `bf16`.

    The median of single products, of which at least three are taken.
    """
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    paces = [_repeat(multiply, 0.0, 1, device)]
    taken = 0.0
    while len(paces) < 4 or taken < seconds:
        paces.append(_repeat(multiply, 0.0, 1, device))
        taken += paces[-1].seconds
    return 2 * side**3 / statistics.median(pace.seconds for pace in paces[1:]) / 1e9


def forward_flops(encoder: "nn.Module", image_side: int = 96) -> int:
    """Count the floating-point operations of one image's forward pass.

    Those of convolutions and matrix products as they are defined, a multiplication and an addition
    being two. They are counted where torch dispatches them, so fused and functional layers count
    too, on a copy without values, for which no kernel takes another way.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    copied = copy.deepcopy(encoder).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copied(torch.zeros(1, 3, image_side, image_side, device="meta"))
    return counter.get_total_flops()


def peak_memory_gb(device: "torch.device") -> float:
    """Return this process's peak, in 1e9 bytes, and what its live worker processes hold now.

    Of pages that processes share each is charged its part. Workers are counted on Linux alone; on a
    GPU it is what was allocated there.
    """
    from sslbench.engine.device import peak_memory_bytes

    peak = peak_memory_bytes(device)
    if device.type == "cpu":
        peak += sum(_resident_bytes(child.pid) for child in multiprocessing.active_children())
    return peak / 1e9


def _resident_bytes(pid: int | None) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run_module(module: str, *arguments: str) -> dict[str, Any]:
    """Run `python -m module arguments` in a process of its own; its last line is JSON.

    Allocator settings of this process are kept from it: a candidate that wants them sets them.

    Raises:
        RuntimeError: If it failed; with the end of what it wrote.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {
        name: value for name, value in os.environ.items() if name not in ALLOCATOR_VARIABLES
    }
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, str]:
    """Name the processors and versions that figures depend on."""
    import platform

    import torch
    import torchvision

    from sslbench.engine.device import choose_device, describe
    from sslbench.machine.threads import available_cores

    facts = {
        "processor": f"{describe(torch.device('cpu'))}, {available_cores()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    if torch.cuda.is_available():
        facts["gpu"] = describe(choose_device("cuda"))
    return facts
