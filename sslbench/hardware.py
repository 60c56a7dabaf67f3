"""What this machine has, found without torch where it can be: it takes a second to import."""

from pathlib import Path


def num_gpus() -> int:
    """Return how many GPUs of Nvidia's there are; which are visible here is torch's to say."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def cpu_has_bf16() -> bool:
    """Whether the CPU has products in bf16; elsewhere they are emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:  # no Linux
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def auto_precision(device: str) -> str:
    """Return what `precision=auto` is on a device, `cuda:0` for one: `bf16` where hardware has it.

    Raises:
        ValueError: If there is no such device here.
    """
    if device == "cpu" or num_gpus() == 0:
        return "bf16" if cpu_has_bf16() else "fp32"
    from sslbench.engine.device import choose_device, choose_precision  # torch knows its GPUs

    return choose_precision("auto", choose_device(device))
