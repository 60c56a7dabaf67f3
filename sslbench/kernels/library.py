"""Compiles a C file beside this one for the processor at hand, once per machine, and loads it."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-std=gnu11", "-lm")
FLAGS += ("-fno-math-errno", "-fno-trapping-math")  # else a comparison is no vector instruction
TIMEOUT_SECONDS = 60


@cache
def load(name: str, *defines: str) -> ctypes.CDLL | None:
    """Return `<name>.c` as a library, compiled with `-D` for each of `defines`.

    None where there is no C compiler, or where it fails: then there is nothing to gain, and torch's
    own operations do the same.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    source = Path(__file__).with_name(f"{name}.c")
    command = [compiler, str(source), *FLAGS, *(f"-D{define}" for define in defines)]
    key = hashlib.sha256(
        "\n".join([source.read_text(), *command[2:], compiler, _processor()]).encode()
    ).hexdigest()
    try:
        folder = _cache_folder()
        path = folder / f"{name}-{key[:16]}.so"
        if not path.exists():
            _compile(command, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s: not compiled (%s); torch's own operations are used", source.name, error)
        return None


def _compile(command: list[str], path: Path) -> None:
    """Compile beside `path`, then rename, as other processes may compile the same."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        subprocess.run(
            [*command, "-o", str(temporary)],
            check=True,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
        )
        temporary.replace(path)


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "sslbench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def processor_flags() -> frozenset[str]:
    """Return the names of what the processor can, as Linux spells them; elsewhere none."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return frozenset()


def _processor() -> str:
    """What `-march=native` depends on; homes are shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "".join(
        sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    )
