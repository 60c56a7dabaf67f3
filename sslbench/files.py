"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside `path`, flush to the disk, then rename: a crash leaves the old file or the new.

    The temporary name carries the process number, so that two writers never share it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    replace_file(path, lambda file: file.write(text.encode()))


def remove_temporaries(folder: Path) -> None:
    """Delete what a killed writer left behind."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


class CurveFile:
    """`metrics.jsonl`: one line per point of a curve, in the order of steps."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep_until(self, step: int) -> None:
        """Drop points after `step`, and a last line that a crash cut short."""
        kept = [point for point in read_curves(self._path) if point["step"] <= step]
        lines = "".join(json.dumps(point) + "\n" for point in kept)
        replace_file(self._path, lambda file: file.write(lines.encode()))

    def append(self, point: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(point) + "\n")


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Return the points of a curve file; none if it does not exist yet."""
    points = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                points.append(json.loads(line))
            except json.JSONDecodeError:  # the line that a kill cut short
                break
    return points


def make_writable_folder(path: Path) -> None:
    """Make a folder, and turn the system's refusal into a clear error.

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
            f"outputs={path}: cannot be written to ({error.strerror}); pick another by outputs=…"
        ) from error
