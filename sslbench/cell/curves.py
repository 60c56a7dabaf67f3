"""`metrics.jsonl`: one line per point of a curve, in the order of steps."""

import json
from pathlib import Path
from typing import Any

from sslbench.atomic import replace_file

CURVES = "metrics.jsonl"


class CurveFile:
    """Writes the curves of a cell."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVES

    def keep_until(self, step: int) -> None:
        """Drop points after `step`, and a last line that a crash cut short."""
        kept = [point for point in read_curves(self._path) if point["step"] <= step]
        lines = "".join(json.dumps(point) + "\n" for point in kept)
        replace_file(self._path, lambda file: file.write(lines.encode()))

    def append(self, point: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(point) + "\n")


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Return the points of a curve file; none if it does not exist yet.

    Raises:
        ValueError: If a line is not JSON, unless it is the last, which a kill may have cut short.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
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
