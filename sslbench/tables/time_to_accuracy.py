"""Time to accuracy: what training takes until a validation accuracy is reached."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.cell.curves import CURVES, read_curves
from sslbench.paper import Row
from sslbench.tables import statistics
from sslbench.tables.contents import Table
from sslbench.tables.gather import DAMAGE, Cell
from sslbench.tables.groups import Group, paper_order, slug

TARGETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COSTS = {"seconds": ("seconds", 1.0), "flops": ("TFLOP", 1e-12)}
"""What it takes; the unit in which it is shown, and what that is times."""
COLUMNS = ("step", "accuracy", *COSTS)
ACCURACY = COLUMNS.index("accuracy")
UNUSUAL = re.compile(r"[^\w .,()@-]", re.ASCII)
"""What is left out of a processor's name: a record may be another's, and notes are not escaped."""
NOTE = (
    "Accuracies in percent. Seconds and floating-point operations of the training steps, without "
    "validations and checkpoints, up to the first validation with that accuracy. Operations are "
    "those of forward and backward passes (convolutions and matrix products). What led to weights "
    "that a cell starts from is left out. Means over seeds that reached it; Student's 95 % "
    "interval where all did. "
    "Seconds are those of {}; cells that shared it were slower than they are alone."
)


def time_tables(groups: list[Group], problems: list[str]) -> list[Table]:
    """Return a table for each group whose curves say what training took.

    Curves that cannot be read are added to `problems`.
    """
    tables = []
    for group in groups:
        rows = sorted(group.rows, key=lambda row: (row.model, paper_order(row)))
        lines = [line for row in rows for line in _lines(group, row, problems)]
        if lines:
            values = pd.DataFrame(lines)
            stem = "" if group.is_paper else f"-{slug(group.title)}"
            processors = sorted({_processor(cell) for cell in group.cells()} - {""})
            tables.append(
                Table(
                    name=f"time-to-accuracy{stem}",
                    title=f"Time to accuracy ({group.title})",
                    note=NOTE.format("; ".join(processors) or "an unknown machine"),
                    frame=_show(values),
                    values=values,
                )
            )
    return tables


def read_validations(cell: Cell, problems: list[str]) -> np.ndarray:
    """Return a cell's validations in their order, `(n, 4)` float64: `COLUMNS`.

    None where it does not say what they took. What cannot be read is added to `problems`.
    """
    path = cell.folder / CURVES
    try:
        points = [point for point in read_curves(path) if point["split"] == "val"]
        found = np.array([[point.get(name) for name in COLUMNS] for point in points], float)
        return found[~np.isnan(found).any(1)] if points else np.empty((0, len(COLUMNS)))
    except DAMAGE as error:
        if not any(str(path) in problem for problem in problems):
            problems.append(f"{path}: not curves ({error}); they are left out")
        return np.empty((0, len(COLUMNS)))


def _processor(cell: Cell) -> str:
    runtime = cell.record.runtime
    words = [runtime.get("processor"), runtime.get("precision")]
    return " in ".join(UNUSUAL.sub("", word) for word in words if isinstance(word, str))


def _lines(group: Group, row: Row, problems: list[str]) -> Iterator[dict]:
    """Yield what a row's finished cells took to reach each accuracy, then their best one."""
    cells = [read_validations(cell, problems) for cell in group.done(row).values()]
    cells = [cell for cell in cells if len(cell)]
    if not cells:
        return
    shared = {"model": row.model, "method": row.method, "ratio": row.ratio, "from": row.init}
    for target in TARGETS:
        reached = [cell[cell[:, ACCURACY] >= target] for cell in cells]
        firsts = [cell[0] for cell in reached if len(cell)]
        if firsts:
            costs = _summarize(firsts, tuple(COSTS), len(cells))
            yield shared | {"accuracy": target, "is_best": False} | costs
    bests = [cell[cell[:, ACCURACY].argmax()] for cell in cells]
    yield shared | {"is_best": True} | _summarize(bests, ("accuracy", *COSTS), len(cells))


def _summarize(points: list[np.ndarray], names: tuple[str, ...], num_cells: int) -> dict:
    """Return means and intervals of points, one of each seed that has one."""
    found = {"reached": len(points), "n": num_cells}
    for name in names:
        values = [point[COLUMNS.index(name)] for point in points]
        found |= {name: np.mean(values), f"{name}_low": np.nan, f"{name}_high": np.nan}
        if len(values) == num_cells > 1:  # few seeds may lead beyond what there is
            most = 1 if name == "accuracy" else np.inf
            bounds = np.clip(statistics.t_interval(values), 0, most)
            found |= dict(zip((f"{name}_low", f"{name}_high"), bounds, strict=True))
    return found


def _show(values: pd.DataFrame) -> pd.DataFrame:
    shown = values[["model", "method", "ratio", "from"]].fillna("")
    for name in ("model", "method"):
        shown[name] = shown[name].map(paper.title)
    best = "best: " + _texts(values, "accuracy", 100.0)
    targets = (100 * values["accuracy"]).map("{:.0f}".format)
    shown["val acc"] = best.where(values["is_best"], targets)
    for name, (title, unit) in COSTS.items():
        shown[title] = _texts(values, name, unit)
    shown["reached"] = [f"{row.reached}/{row.n}" for row in values.itertuples()]
    constant = [name for name in ("ratio", "from") if shown[name].nunique() <= 1]
    return shown.drop(columns=constant)


def _texts(values: pd.DataFrame, name: str, unit: float) -> pd.Series:
    """Write means and intervals; of few digits, as costs span many orders."""

    def text(line: tuple) -> str:
        mean, low, high = (unit * getattr(line, f"{name}{end}") for end in ("", "_low", "_high"))
        return f"{mean:.4g}" + ("" if np.isnan(low) else f" [{low:.4g}, {high:.4g}]")

    return pd.Series([text(line) for line in values.itertuples()], index=values.index)
