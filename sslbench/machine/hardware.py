"""What this machine has, found without torch where it can be: it takes a second to import."""

from pathlib import Path


def num_gpus() -> int:
    """Return how many GPUs of Nvidia's there are; which are visible here is torch's to say."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def may_have_gpu() -> bool:
    """Whether there is a sign of a GPU that torch may use: Nvidia's, also in WSL, or AMD's."""
    return num_gpus() > 0 or any(Path(sign).exists() for sign in ("/dev/dxg", "/dev/kfd"))


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
