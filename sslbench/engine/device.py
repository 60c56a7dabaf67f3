"""The process and its hardware: allocator, threads, device, precision, memory."""

import contextlib
import ctypes
import platform
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from sslbench.machine.hardware import auto_precision
from sslbench.machine.threads import allowed_threads, limit_pools

# mallopt's parameter numbers, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks instead of handing them back to the kernel.

    Activations are freed and allocated anew each step; faulting their pages in again took half the
    time of a WRN-45-2 step on a CPU. Without glibc this does nothing. Numbers stay the same.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(parameter, 2**31 - 1)


def use_threads(threads: int | None) -> None:
    """Set the threads of each pool of this process; none: as many as are allowed."""
    number = threads or allowed_threads()
    limit_pools(number)
    torch.set_num_threads(number)
    with contextlib.suppress(RuntimeError):  # this one is opened once, and its first number stays
        torch.set_num_interop_threads(number)


def choose_device(device: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device.

    Raises:
        ValueError: If the device does not exist here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device}: must be auto, cpu, cuda or cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device={device}: must be auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device}: {torch.cuda.device_count()} GPUs are visible here; use device=cpu"
        )
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """Turn `auto`, `fp32` or `bf16` into `fp32` or `bf16`."""
    return auto_precision(str(device)) if precision == "auto" else precision


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """Return the context in which a forward pass runs."""
    return lambda: torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=True
    )


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process: on the GPU what was allocated there, else the resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        # On Linux rusage counts what the parent held when it started this process.
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe(device: torch.device) -> str:
    """Return the name of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
