"""Nvidia's Multi-Process Service (MPS): what several processes compute on a GPU runs side by side.

Without it they take turns, which gains nothing.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sslbench.machine.hardware import VISIBLE

PROGRAM = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
USUAL = Path("/tmp/nvidia-mps")
"""Where Nvidia's programs look if no variable says otherwise."""
FOLDERS = USUAL.parent
"""The path of a socket has at most 108 bytes, and TMPDIR may be long."""
START_SECONDS, STOP_SECONDS = 30.0, 20.0
# `cat` ends when the one who has started this closes the pipe, or is gone. Then `quit` waits for
# the processes that compute still.
WATCH = f"""
if {PROGRAM} -d </dev/null >"${LOGS}/start" 2>&1
then echo started; cat >/dev/null; echo quit | {PROGRAM} >/dev/null 2>&1
else head -n 1 "${LOGS}/start"
fi
rm -rf "$0"
"""
PROBE = """
import ctypes
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
print(
    cuda.cuInit(0)
    or cuda.cuDeviceGet(ctypes.byref(device), 0)
    or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
)
"""
"""Prints CUDA's error as a process of the daemon's gets it, or 0: that it started does not say."""


def has_mps() -> bool:
    """Whether the program is there that starts its control daemon."""
    return shutil.which(PROGRAM) is not None


def mps_of_user() -> str | None:
    """Return the folder of a daemon that the user has set up, None if there is none."""
    if PIPES in os.environ:
        return os.environ[PIPES]
    with suppress(OSError, ValueError):
        number = int((USUAL / "nvidia-cuda-mps-control.pid").read_text())
        if Path(f"/proc/{number}").exists():
            return str(USUAL)
    return None


@contextmanager
def mps_daemon() -> Iterator[None]:
    """Run a control daemon for the processes that are started meanwhile.

    Its folders are this user's alone. A shell beside this process ends it afterwards, also where
    this process is killed; what has used CUDA before is not touched.

    Raises:
        OSError: If it does not start, with what it says, or CUDA does not work by it.
    """
    folder = Path(tempfile.mkdtemp(prefix="sslbench-mps-", dir=FOLDERS))
    variables = {PIPES: str(folder / "pipe"), LOGS: str(folder / "log")}
    for path in variables.values():
        Path(path).mkdir(mode=0o700)
    watcher = subprocess.Popen(
        ["sh", "-c", WATCH, str(folder)],
        env=_environment() | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the sweep
    )
    try:
        _require_start(watcher)
        os.environ.update(variables)
        _require_cuda()
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        watcher.stdin.close()
        watcher.stdout.close()
        with suppress(subprocess.TimeoutExpired):  # it goes on to wait by itself
            watcher.wait(STOP_SECONDS)


def _environment() -> dict[str, str]:
    """Return the daemon's variables: numbers of visible GPUs would be applied twice, by it too."""
    found = dict(os.environ)
    if found.get(VISIBLE, "").replace(",", "").replace(" ", "").isdecimal():
        del found[VISIBLE]
    return found


def _require_start(watcher: subprocess.Popen) -> None:
    found, _, _ = select.select([watcher.stdout], [], [], START_SECONDS)
    if not found:
        os.killpg(watcher.pid, signal.SIGKILL)
        raise OSError(f"no answer in {START_SECONDS:.0f} s")
    said = watcher.stdout.readline().strip()
    if said != "started":
        raise OSError(said or "it says nothing")


def _require_cuda() -> None:
    command = [sys.executable, "-c", PROBE]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"CUDA does not answer in {START_SECONDS:.0f} s") from error
    if found.stdout.strip() != "0":
        raise OSError(f"CUDA's error {found.stdout.strip() or found.stderr.strip()[-100:]}")
