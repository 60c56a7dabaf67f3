"""Writes docs/readings.md: its text from docs/readings.head.md, its tables from records.

python docs/make_readings.py
"""

import json
from pathlib import Path

from sslbench import paper
from sslbench.cell.curves import CURVES, read_curves
from sslbench.tables.compare import Predictions
from sslbench.tables.gather import Cell, gather
from sslbench.tables.groups import find_groups, unlabeled_per_labeled
from sslbench.tables.readings import reading_tables
from sslbench.tables.render import to_markdown
from sslbench.tables.statistics import two_proportions

HERE = Path(__file__).parent
RECORDS = HERE.parent / "benchmarks" / "stl10_shaped"
FULL, SHORT = RECORDS / "paper_h200_b201cf1", RECORDS / "readings"
ONE_TRAINING = RECORDS / "bn_statistics.json"


def main() -> None:
    """Write the page."""
    (HERE / "readings.md").write_text(build_page())


def build_page() -> str:
    """Return the whole page."""
    head = (HERE / "readings.head.md").read_text()
    parts = {"{bn_statistics}": one_training(), "{best_or_last}": best_or_last()}
    for place, text in parts.items():
        assert place in head, f"readings.head.md has no place for {place}"
        head = head.replace(place, text)
    return "\n".join([head, *short_cells()])


def one_training() -> str:
    """Return the table that benchmarks.bn_statistics made."""
    (table,) = json.loads(ONE_TRAINING.read_text())["tables"]
    return markdown(table["columns"], table["rows"])


def short_cells() -> list[str]:
    """Return the report's tables of readings, of short cells."""
    cells, problems = gather(SHORT)
    groups, misfits = find_groups(cells)
    tables = reading_tables(groups, Predictions(problems))
    assert not problems + misfits, problems + misfits
    return [to_markdown(table) for table in tables]


def best_or_last() -> str:
    """Return what choosing the last step instead of the best one moves, of cells at full length."""
    columns = ("model", "method", "ratio", "from", "val acc, best step", "last step, difference")
    columns += ("train acc before the best", "before the last")
    cells, problems = gather(FULL)
    assert not problems, problems
    cells.sort(
        key=lambda it: (it.model, it.method, unlabeled_per_labeled(it.ratio), it.start or "")
    )
    return markdown(columns, [_best_and_last(cell) for cell in cells])


def _best_and_last(cell: Cell) -> tuple[str, ...]:
    points = read_curves(cell.folder / CURVES)
    validations = [point for point in points if point["split"] == "val"]
    best, last = max(validations, key=lambda point: point["accuracy"]), validations[-1]
    num_images = cell.num_images("val")
    found = two_proportions(last["accuracy"], best["accuracy"], num_images, num_images)
    train = [_train_accuracy(points, validations, point["step"]) for point in (best, last)]
    words = [paper.title(cell.model), paper.title(cell.method), cell.ratio or ""]
    words.append("self-supervised" if cell.start else "")
    words.append(f"{100 * best['accuracy']:.1f} (step {best['step']:,})")
    interval = f"{100 * found.low:+.1f}, {100 * found.high:+.1f}"
    words.append(f"{100 * found.difference:+.1f} [{interval}]")
    return *words, *("" if each is None else f"{100 * each:.1f}" for each in train)


def _train_accuracy(points: list[dict], validations: list[dict], step: int) -> float | None:
    """Return the mean of the training curve between a validation and the one before it."""
    before = max([0, *(point["step"] for point in validations if point["step"] < step)])
    found = [
        point["accuracy"]
        for point in points
        if point["split"] == "train" and before < point["step"] <= step and "accuracy" in point
    ]
    return sum(found) / len(found) if found else None


def markdown(columns: tuple[str, ...] | list[str], rows: list) -> str:
    """Write a table in Markdown's pipe syntax."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
