"""What the cells were trained on: images, hardware, versions of code and packages, and how long."""

from collections.abc import Iterable

import pandas as pd

from sslbench import paper
from sslbench.cell.record import DATA_TITLES, DONE
from sslbench.cell.versions import is_of_other_code
from sslbench.tables.contents import Table
from sslbench.tables.gather import Cell
from sslbench.words.escape import printable

UNKNOWN = "-"
SPLITS = {"train_plain": "labelled", "val": "validation", "test": "test"}
"""Results with a confusion matrix, whose rows are classes, by the title of their images."""
GIB = 2**30
PACKAGES = ("python", "torch", "torchvision", "numpy", "scikit-learn", "hydra-core", "wandb")


def environment_tables(cells: list[Cell]) -> list[Table]:
    """Return the tables on data sets, their classes, environments and times of finished cells."""
    done = [cell for cell in cells if cell.status == DONE]
    if not done:
        return []
    return [_data_table(done), *_class_tables(done), _environment_table(done), _time_table(done)]


def other_code(cells: Iterable[Cell]) -> list[Cell]:
    """Return the finished cells that other code has trained than that which reports on them."""
    return [cell for cell in cells if cell.status == DONE and is_of_other_code(cell.record)]


def _table(name: str, title: str, note: str, lines: list[dict]) -> Table:
    values = pd.DataFrame({key: _safe(value) for key, value in line.items()} for line in lines)
    return Table(name, title, note, values.fillna(UNKNOWN).astype(str), values)


def _safe(value: object) -> object:
    """Write texts that are no UTF-8 as escapes: pandas refuses them."""
    return printable(value) if isinstance(value, str) else value


def _by_data(cells: list[Cell]) -> dict[tuple[str, str], list[Cell]]:
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.data, str(cell.record.data.get("fingerprint", ""))), []).append(cell)
    return found


def _data_table(cells: list[Cell]) -> Table:
    lines = []
    for (name, fingerprint), alike in _by_data(cells).items():
        for sizes in sorted({_sizes(cell) for cell in alike}):
            described = alike[0].record.data
            lines.append(
                {"data": DATA_TITLES.get(name, name), "fingerprint": fingerprint or UNKNOWN}
                | dict(zip(("labelled", "unlabelled", "validation", "test"), sizes, strict=True))
                | {"mean": _channels(described, "mean"), "deviation": _channels(described, "std")}
            )
    note = "Images by split; mean and deviation of the labelled ones' colours (red, green, blue)."
    return _table("data", "Images", note, lines)


def _sizes(cell: Cell) -> tuple[int, ...]:
    names = ("labeled", "unlabeled", "val", "test")
    found = [cell.record.data.get(f"num_{name}") for name in names]
    return tuple(number if isinstance(number, int) else 0 for number in found)


def _channels(data: dict, key: str) -> str:
    values = data.get(key)
    is_known = isinstance(values, list) and all(isinstance(it, int | float) for it in values)
    return " ".join(f"{value:.3f}" for value in values) if is_known else UNKNOWN


def _class_tables(cells: list[Cell]) -> list[Table]:
    """Return each data set's images by class, counted in the confusion matrices of a cell."""
    tables = []
    for (name, fingerprint), alike in _by_data(cells).items():
        counts = {title: _counts(alike[0], split) for split, title in SPLITS.items()}
        names = alike[0].class_names
        known = {title: found for title, found in counts.items() if len(found) == len(names)}
        if known and names:
            lines = [
                {"class": label} | {title: found[i] for title, found in known.items()}
                for i, label in enumerate(names)
            ]
            end = f"-{fingerprint[:8]}" if fingerprint.isalnum() else ""
            title = f"Images by class, {DATA_TITLES.get(name, name)}"
            tables.append(_table(f"classes{end}", title, "Unlabelled images have none.", lines))
    return tables


def _counts(cell: Cell, split: str) -> list[int]:
    confusion = (cell.record.results.get(split) or {}).get("confusion")
    try:
        return [int(sum(row)) for row in confusion or []]
    except (TypeError, ValueError, OverflowError):  # which the picture of it complains of
        return []


def _environment_table(cells: list[Cell]) -> Table:
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        runtime = cell.record.runtime
        versions = runtime.get("versions", {})
        key = [runtime.get("processor"), runtime.get("precision"), runtime.get("threads")]
        key += [versions.get(name) for name in ("code", "commit", "platform", *PACKAGES)]
        groups.setdefault(tuple(map(_told, key)), []).append(cell)
    titles = ["hardware", "precision", "threads", "code", "commit", "system", *PACKAGES]
    others = {cell.cell_id: cell for cell in other_code(cells)}
    columns = {}
    for number, (key, alike) in enumerate(groups.items(), start=1):
        is_by_this = "no" if alike[0].cell_id in others else "yes"
        is_known = key[titles.index("code")] != UNKNOWN
        title = f"{number} ({len(alike)} cell{'s' * (len(alike) > 1)})"
        columns[title] = [*key, is_by_this if is_known else UNKNOWN]
    note = "Cells by what trained them. Code: a digest of all that a cell's numbers come from. "
    if others:
        note += f"Trained by other code than this: {_listed([*others.values()], len(cells))}."
    values = pd.DataFrame({"what": [*titles, "trained by this code"]} | columns)
    return Table("environment", "Hardware, code and packages", note.strip(), values, values)


def _listed(cells: list[Cell], number: int) -> str:
    if len(cells) == number > 1:
        return f"all {number}"
    titles = [cell.title for cell in cells]
    return "; ".join(titles[:20]) + (f" and {len(titles) - 20} more" if titles[20:] else "")


def _time_table(cells: list[Cell]) -> Table:
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        model, method = paper.title(cell.model), paper.title(cell.method)
        started = "self" if cell.start else ""
        processor = _told(cell.record.runtime.get("processor"))
        key = (model, method, cell.ratio or "", started, processor)
        groups.setdefault(key, []).append(cell)
    lines = [
        dict(zip(("model", "method", "ratio", "from", "hardware"), key, strict=True))
        | {"cells": len(alike), "steps": _told(alike[0].record.results.get("steps"))}
        | {
            "seconds": _mean(list(filter(_is_whole, alike)), "total_seconds", 0),
            "training": _mean(alike, "train_seconds", 0),
        }
        | {"images / s": _mean(alike, "images_per_second", 0)}
        | {"GiB": _mean(alike, "peak_memory_bytes", 1, GIB)}
        for key, alike in sorted(groups.items())
    ]
    note = (
        "Means over cells: seconds in all and in training, images per second of training, most "
        "memory in use. Cells that ran side by side share what they ran on."
    )
    return _table("times", "Times and memory", note, lines)


def _is_whole(cell: Cell) -> bool:
    """Whether a total is of all runs: of resumed cells older code wrote that of the last alone."""
    total, training = (cell.record.runtime.get(f"{part}_seconds") for part in ("total", "train"))
    return not (_is_number(total) and _is_number(training) and total < training)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _mean(cells: list[Cell], key: str, digits: int, unit: float = 1.0) -> str:
    found = [cell.record.runtime.get(key) for cell in cells]
    numbers = [value / unit for value in found if _is_number(value)]
    return f"{sum(numbers) / len(numbers):,.{digits}f}" if numbers else UNKNOWN


def _told(value: object) -> str:
    return UNKNOWN if value in (None, "") else printable(str(value))
