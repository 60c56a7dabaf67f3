"""Checkpoints: everything that a cell needs to go on as if it had never stopped."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.atomic import replace_file
from sslbench.interfaces import MethodModule

LAST, BEST = "last.pt", "best.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    replace_file(path, lambda file: torch.save(state, file))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in it is executed.

    Raises:
        ValueError: If the file is no checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a checkpoint ({error})") from error


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


def drop_optimizer(path: Path) -> None:
    """Keep the weights of a finished cell: Adam's moments are two thirds of a checkpoint."""
    state = load(path)
    if state.pop("optimizer", None) is not None:
        save(path, state)


def digest(module: nn.Module) -> str:
    """Hash all weights and buffers, so that two modules with the same digest are bitwise equal."""
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()
