"""Checkpoints: everything that a cell needs to go on as if it had never stopped."""

import errno
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.files.atomic import replace_file
from sslbench.files.zips import require_whole
from sslbench.interfaces import MethodModule
from sslbench.machine.extras import require_extra
from sslbench.words.trouble import find_trouble

SAFETENSORS = ".safetensors"
LAST, BEFORE_LAST, BEST = "last.pt", "before-last.pt", "best.pt"


def save(path: Path, state: dict[str, Any], keep_as: Path | None = None) -> None:
    """Write a checkpoint, whole or not at all."""
    replace_file(path, lambda file: torch.save(state, file), keep_as)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in it is executed.

    Raises:
        ValueError: If the file is no checkpoint, or damaged.
        OSError: If the disk does not read it, which says nothing of the file.
        MemoryError: If there is no room for it; or torch's error that says so.
    """
    try:
        if path.suffix == SAFETENSORS:
            return _load_safetensors(path)
        if zipfile.is_zipfile(path):  # older versions of torch wrote other files
            require_whole(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if _is_the_machines(error):
            raise
        cause = str(error).removeprefix(f"{path}: ").partition("\n")[0]
        if "weights_only" in str(error):  # torch's advice, which is not for a file of others
            cause = "no file of torch.save, or more in it than tensors: save a model's state_dict()"
        raise ValueError(f"{path}: cannot be read as a checkpoint ({cause})") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    require_extra(path.name, "safetensors", "export")
    from safetensors.torch import load_file

    return load_file(path)


def _is_the_machines(error: Exception) -> bool:
    for each in (error, error.__cause__):
        of_file = isinstance(each, FileNotFoundError) or getattr(each, "errno", 0) == errno.EINVAL
        if each is not None and not of_file and find_trouble(each) is not None:
            return True
    return False


def load_own(path: Path, cell: str) -> dict[str, Any]:
    """Read a checkpoint of a cell.

    Raises:
        ValueError: If the file is no checkpoint, damaged, or of another cell.
    """
    state = load(path)
    if not isinstance(state, dict) or not {"cell", "step", "method"} <= state.keys():
        raise ValueError(f"{path}: no checkpoint of a cell")
    if state["cell"] != cell:
        raise ValueError(f"{path}: a checkpoint of another cell, {state['cell']}")
    return state


def load_latest(folder: Path, cell: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the state to go on from, and what is wrong with later ones.

    The one before the last stands in for a last one that is damaged or was never written.
    """
    problems = []
    for name in (LAST, BEFORE_LAST):
        if (folder / name).exists():
            try:
                return load_own(folder / name, cell), problems
            except ValueError as error:
                problems.append(str(error))
    return None, problems


def copy_weights(method: MethodModule) -> dict[str, Any]:
    """Return a method's weights as `weights_of` does, in memory of their own on the CPU."""
    found = weights_of(method)
    return found | {"method": {name: it.cpu().clone() for name, it in found["method"].items()}}


def weights_of(method: MethodModule) -> dict[str, Any]:
    """Return a method's weights, and the name of the part of it that is its evaluated encoder."""
    encoder = method.evaluated_encoder
    (name,) = [name for name, module in method.named_modules() if module is encoder]
    return {"method": method.state_dict(), "encoder": name}


def encoder_weights(path: Path) -> dict[str, Tensor]:
    """Return the encoder's weights out of a cell's checkpoint, or an encoder's own state dict.

    Raises:
        ValueError: If the file is no checkpoint.
    """
    state = load(path)
    if not isinstance(state, dict) or not isinstance(state.get("encoder"), str):
        return state
    prefix = f"{state['encoder']}."
    return {
        name.removeprefix(prefix): value
        for name, value in state["method"].items()
        if name.startswith(prefix)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what an optimizer has gathered; its options stay those that it was built with.

    They are the cell's, but for what depends on the device, which may be another one now, and the
    learning rate, which a graph may hold by address.
    """
    options = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    saved = zip(state["param_groups"], options, strict=True)
    optimizer.load_state_dict(state | {"param_groups": [group | own for group, own in saved]})
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)


def keep_weights_only(folder: Path, cell: str, evaluated: dict[str, Any]) -> None:
    """Drop what a finished cell needs no more: Adam's moments are half of a checkpoint.

    Args:
        evaluated: The weights that take the place of the last step's, if those were evaluated:
            their BatchNorm may have other statistics than it had in training.
    """
    state = load_own(folder / LAST, cell)
    dropped = [state.pop(name, None) for name in ("optimizer", "best")]
    if any(dropped):
        save(folder / LAST, state | evaluated)
    (folder / BEFORE_LAST).unlink(missing_ok=True)


def digest(module: nn.Module) -> str:
    """Hash all weights and buffers, so that two modules with the same digest are bitwise equal."""
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()
