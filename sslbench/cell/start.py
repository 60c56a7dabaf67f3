"""`init.from`: whose encoder to start from."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cell.folder import cells_folder
from sslbench.cell.identity import SEPARATOR
from sslbench.cell.record import DONE, load_record
from sslbench.config.settings import Settings

if TYPE_CHECKING:
    from torch import nn


def names_a_method(init_from: str | None) -> bool:
    """Whether to start from the cell of another method: `barlow`, or `barlow steps=9` and so on.

    Checkpoints and ids of cells have a dot or a hyphen in their names, or a folder before them.
    """
    method, *overrides = (init_from or "").split() or [""]
    return re.fullmatch(r"\w+", method) is not None and all("=" in word for word in overrides)


def concrete_initial(settings: Settings) -> Settings:
    """Turn a checkpoint's path into `path#digest`, and a cell's folder into the cell's id.

    Raises:
        ValueError: If there is no such checkpoint or cell.
    """
    source = settings.init_from
    if source is None or SEPARATOR in source:
        return settings
    if names_a_method(source):
        raise ValueError(
            f"init.from={source}: neither a file nor a cell. Of a method, the {source} cell of the "
            "same model, data and seed comes first: a sweep trains both, add -m"
        )
    path = Path(source)
    if path.is_dir():
        source = path.resolve().name
        if path.resolve().parent != cells_folder(settings.outputs).resolve():
            raise ValueError(f"init.from={path}: no cell of outputs={settings.outputs}")
    elif path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        source = f"{path.resolve()}{SEPARATOR}{digest}"
    elif not (cells_folder(settings.outputs) / source).is_dir():
        raise ValueError(
            f"init.from={source}: neither a checkpoint, nor a cell's folder, nor a cell below "
            f"{cells_folder(settings.outputs)}"
        )
    return replace(settings, init={"from": source})


def checkpoint_path(settings: Settings) -> Path:
    """Return the checkpoint of a concrete `init.from`.

    Raises:
        ValueError: If it names a cell that is not finished.
    """
    assert settings.init_from is not None
    if SEPARATOR in settings.init_from:
        return Path(settings.init_from.rpartition(SEPARATOR)[0])
    folder = cells_folder(settings.outputs) / settings.init_from
    record = load_record(folder)
    if record is None or record.status != DONE:
        state = "has not been run" if record is None else record.status
        raise ValueError(f"init.from={settings.init_from}: that cell is not finished ({state})")
    return folder / record.results["weights"]


def load_initial_encoder(encoder: "nn.Module", settings: Settings) -> None:
    """Load the weights that `init.from` names.

    Raises:
        ValueError: If they belong to another model.
    """
    from sslbench.cell import checkpoint  # needs torch

    path = checkpoint_path(settings)
    try:
        encoder.load_state_dict(checkpoint.encoder_weights(path))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"init.from={settings.init_from}: {path.name} holds another encoder than "
            f"model={settings.model.name}; pick a checkpoint of the same model"
        ) from error
