"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from sslbench.words.trouble import name_file


def replace_file(
    path: Path, write: Callable[[BinaryIO], object], keep_as: Path | None = None
) -> None:
    """Write beside `path`, flush to the disk, then rename: a crash leaves the old file or the new.

    The temporary name carries the process number, so that two writers never share it.

    Args:
        keep_as: What was at `path` goes there; a crash may leave it there and nothing at `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep_as is not None and path.exists():
            path.replace(keep_as)
        temporary.replace(path)
    except Exception as error:
        name_file(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all.

    What is no text, as names of files may be, is escaped as JSON does it.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed writer left behind."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def make_writable_folder(path: Path, chosen_by: str | None = None) -> None:
    """Make a folder, and turn the system's refusal into a clear error.

    Args:
        chosen_by: What the user typed for it; `outputs=<path>` by default.

    Raises:
        ValueError: If the folder cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written to ({error.strerror}); pick another folder than "
            f"{chosen_by or f'outputs={path}'}"
        ) from error
