"""What this machine has, found without torch where it can be: it takes a second to import."""

import os
import subprocess
from functools import cache
from itertools import takewhile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
SMI_SECONDS = 10.0


def num_gpus() -> int:
    """Return how many GPUs of Nvidia's there are for this process, by CUDA_VISIBLE_DEVICES."""
    number = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return number
    # What follows one that there is not is not visible either.
    named = takewhile(lambda it: it.strip() not in ("", "-1"), visible.split(","))
    return min(number, len(list(named)))


def free_gpu_memory() -> int | None:
    """Return the bytes free on the GPU that has the least; None where no one tells.

    torch would have to open the GPU, and keep some of it for itself.
    """
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    if visible := os.environ.get(VISIBLE):
        command.append(f"--id={visible}")
    try:
        found = subprocess.run(command, capture_output=True, check=True, timeout=SMI_SECONDS)
        return min(int(line) for line in found.stdout.split()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def may_have_gpu() -> bool:
    """Whether there is a sign of a GPU that torch may use: Nvidia's, also in WSL, or AMD's."""
    return num_gpus() > 0 or any(Path(sign).exists() for sign in ("/dev/dxg", "/dev/kfd"))


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU has products in bf16; elsewhere they are emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:  # no Linux
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def gpu_has_bf16(device: str) -> bool:
    """Whether a GPU, `cuda` or `cuda:N`, has products in bf16."""
    import torch

    return torch.cuda.get_device_capability(device) >= (8, 0)


def auto_precision(device: str) -> str:
    """Return what `precision=auto` is on a device, `cuda:0` for one: `bf16` where hardware has it.

    Where there is no such device here, whoever uses it says so.
    """
    if device != "cpu" and (device != "auto" or may_have_gpu()):
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu" and torch.cuda.is_available():
            in_range = int(device.partition(":")[2] or 0) < torch.cuda.device_count()
            return "bf16" if in_range and gpu_has_bf16(device) else "fp32"
    return "bf16" if cpu_has_bf16() else "fp32"
