"""`init.from`: whose encoder to start from."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.cell.folder import cells_folder
from sslbench.cell.identity import SEPARATOR
from sslbench.cell.record import DONE, RECORD, SETTINGS, load_record, require_weights
from sslbench.config.settings import Settings
from sslbench.files.checksums import file_sha256

if TYPE_CHECKING:
    from torch import nn

DIGEST_DIGITS = 16
"""Of the SHA-256 of a checkpoint that is no cell's."""


def names_a_method(init_from: str | None) -> bool:
    """Whether to start from the cell of another method: `barlow`, or `barlow steps=9` and so on.

    Checkpoints and ids of cells have a dot or a hyphen in their names, or a folder before them.
    """
    method, *overrides = (init_from or "").split() or [""]
    return re.fullmatch(r"\w+", method) is not None and all("=" in word for word in overrides)


def concrete_initial(settings: Settings) -> Settings:
    """Turn a checkpoint's path into `path#digest`, and a cell's folder into the cell's id.

    Of a cell below another folder of outputs the weights are a checkpoint as any other.

    Raises:
        ValueError: If there is no such checkpoint or cell, or one elsewhere is not finished.
    """
    source = settings.init_from
    if source is None:
        return settings
    if names_a_method(source):
        raise ValueError(
            f"init.from={source}: neither a file nor a cell.\nOf a method, its cell of the same "
            "model, data and seed comes first: a sweep trains both, add -m"
        )
    path, below = Path(source), cells_folder(settings.outputs)
    if path.is_dir() and path.resolve().parent != below.resolve():
        path = _weights_of(path.resolve(), source)
    if path.is_dir():
        source = path.resolve().name
    elif path.is_file():
        source = f"{path.resolve()}{SEPARATOR}{_file_digest(path)}"
    elif (split := _split(source)) is not None:
        file, digest = split
        _require_digest(file, digest)
        source = f"{file.resolve()}{SEPARATOR}{digest}"
    elif path.name != source or not (below / source).is_dir():
        raise ValueError(
            f"init.from={source}: neither a checkpoint, nor a cell's folder, nor a cell below "
            f"{below}"
        )
    return replace(settings, init={"from": source})


def checkpoint_path(settings: Settings) -> Path:
    """Return the checkpoint of a concrete `init.from`.

    Raises:
        ValueError: If it names a cell that is not finished or damaged, or a file that has changed.
    """
    assert settings.init_from is not None
    split = _split(settings.init_from)
    if split is not None:
        _require_digest(*split)
        return split[0]
    return _weights_of(cells_folder(settings.outputs) / settings.init_from, settings.init_from)


def _weights_of(folder: Path, source: str) -> Path:
    """Return the weights of a finished cell, which `init.from=source` names."""
    try:
        record = load_record(folder)
        if record is not None and record.status == DONE:
            return require_weights(folder, record)
    except ValueError as error:
        raise ValueError(f"init.from={source}: {error}") from error
    if record is None and not (folder / SETTINGS).exists():
        raise ValueError(f"init.from={source}: no cell's folder: there is no {RECORD} in it")
    state = "has not been run" if record is None else record.status
    raise ValueError(f"init.from={source}: that cell is not finished ({state})")


def start_digest(settings: Settings) -> str | None:
    """Return what tells the weights that a cell starts from from others; None if from none."""
    if settings.init_from is None:
        return None
    split = _split(settings.init_from)
    if split is not None:
        return split[1]
    record = load_record(cells_folder(settings.outputs) / settings.init_from)
    return None if record is None else record.results.get("weights_sha256")


def load_initial_encoder(encoder: "nn.Module", settings: Settings) -> list[str]:
    """Load the weights that `init.from` names, and return the names of those that were left.

    Raises:
        ValueError: If they belong to another model.
    """
    from sslbench.cell import checkpoint  # needs torch
    from sslbench.cell.foreign_weights import fit_weights

    path = checkpoint_path(settings)
    contents = checkpoint.encoder_weights(path)
    try:
        weights, left = fit_weights(contents, encoder, settings.model)
        encoder.load_state_dict(weights)
    except (ValueError, RuntimeError, KeyError) as error:  # of what the model makes of them
        raise ValueError(
            f"init.from={settings.init_from}: {path.name} holds another encoder than "
            f"model={settings.model.name} ({error}); pick a checkpoint of the same model"
        ) from error
    return left


def _split(source: str) -> tuple[Path, str] | None:
    """Return the file and the digest of `path#digest`; a path may hold that character too."""
    path, separator, digest = source.rpartition(SEPARATOR)
    is_pair = separator and re.fullmatch(rf"[0-9a-f]{{{DIGEST_DIGITS}}}", digest) is not None
    return (Path(path), digest) if is_pair else None


def _file_digest(path: Path) -> str:
    return file_sha256(path)[:DIGEST_DIGITS]


def _require_digest(path: Path, digest: str) -> None:
    if not path.is_file():
        raise ValueError(f"init.from={path}{SEPARATOR}{digest}: there is no such file")
    if (found := _file_digest(path)) != digest:
        raise ValueError(
            f"init.from={path}{SEPARATOR}{digest}: the file is another one, its digest is {found}; "
            f"leave {SEPARATOR}{digest} out to take it as it is"
        )
