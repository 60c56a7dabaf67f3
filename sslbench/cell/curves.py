"""`metrics.jsonl`: one line per point of a curve, in the order of steps."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from sslbench.files.atomic import replace_file
from sslbench.files.checksums import finite_numbers

CURVES = "metrics.jsonl"


class CurveFile:
    """Writes the curves of a cell. A checkpoint holds them too, so that no file's damage stays."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVES
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """All points so far, as the file has them."""
        return "".join(self._lines)

    def restore(self, text: str) -> bool:
        """Begin with what a checkpoint holds, and return whether the file had begun so too."""
        before = self._path.read_bytes() if self._path.exists() else b""
        self._lines = [text]
        replace_file(self._path, lambda file: file.write(text.encode()))
        return before.startswith(text.encode())

    def append(self, point: dict[str, Any]) -> None:
        line = json.dumps(finite_numbers(point), allow_nan=False) + "\n"
        self._lines.append(line)
        with self._path.open("a") as file:
            file.write(line)


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Return the points of a curve file; none if it does not exist yet.

    Raises:
        ValueError: If a line is not JSON, unless it is the last, which a kill may have cut short.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
    with suppress(ValueError, TypeError):  # thrice as fast as line by line
        found = json.loads(b"[[%b]]" % b"],\n[".join(lines))
        if [len(each) for each in found] == [1] * len(lines):  # a line may have commas of its own
            return [point for (point,) in found]
    points = []
    for number, line in enumerate(lines, start=1):
        try:
            points.append(json.loads(line))
        except ValueError as error:  # of UTF-8 too
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error}); delete that line"
                ) from error
    return points
