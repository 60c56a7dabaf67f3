"""Cells sorted into groups that may be compared: the same data, the same changed settings."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sslbench.cell.identity import SEPARATOR
from sslbench.cell.record import DONE
from sslbench.tables import paper
from sslbench.tables.gather import Cell, Changes
from sslbench.tables.paper import Row

DATA_TITLES = {"stl10": "STL-10", "digits": "digits, the built-in stand-in"}
BUDGET = ("steps", "method.epochs")
"""Settings that shorten or lengthen a cell without changing what it is."""
MIN_SEEDS = 3
PAPER_SETTINGS = "the paper's settings"
MAX_SLUG = 60
CHECKPOINT, UNKNOWN = "checkpoint", "unknown weights"
"""Stand for weights that are no cell's, with a digest, and for those of a cell not there."""


@dataclass
class Group:
    """Cells with the same data and changes; `rows` holds each row's cells by seed."""

    data: str
    changes: Changes
    rows: dict[Row, dict[int, Cell]] = field(default_factory=dict)

    @property
    def is_paper(self) -> bool:
        """Whether its results may stand beside the paper's."""
        return self.data == paper.DATA and not self.changes

    @property
    def title(self) -> str:
        name = DATA_TITLES.get(self.data, self.data)
        if "data.fingerprint" in self.changes:
            name += f" {str(self.changes['data.fingerprint'])[:8]}"
        return f"{name}, {', '.join(overrides(self.changes)) or PAPER_SETTINGS}"

    def done(self, row: Row) -> dict[int, Cell]:
        """Return a row's finished cells by seed."""
        cells = self.rows.get(row, {})
        return {seed: cells[seed] for seed in sorted(cells) if cells[seed].status == DONE}

    def states(self, row: Row) -> Counter[str]:
        """Count a row's cells by status."""
        return Counter(cell.status for cell in self.rows.get(row, {}).values())

    def cells(self) -> list[Cell]:
        return [cell for cells in self.rows.values() for cell in cells.values()]

    def expected_seeds(self) -> list[int]:
        """Return the seeds that any cell has, and as many more as make three."""
        seeds = {cell.seed for cell in self.cells()}
        extra = (seed for seed in range(len(seeds) + MIN_SEEDS) if seed not in seeds)
        return sorted([*seeds, *(next(extra) for _ in range(MIN_SEEDS - len(seeds)))])


def find_groups(cells: Iterable[Cell]) -> tuple[list[Group], list[str]]:
    """Sort cells into groups, the paper's own settings first; name those that have no place."""
    by_id = {cell.cell_id: cell for cell in cells}
    groups: dict[str, Group] = {}
    problems = []
    for cell in by_id.values():
        key = json.dumps([cell.data, cell.changes], sort_keys=True)
        group = groups.setdefault(key, Group(cell.data, cell.changes))
        row = Row(cell.method, cell.model, cell.ratio, start_label(cell, by_id))
        held = group.rows.setdefault(row, {}).setdefault(cell.seed, cell)
        if held is not cell:
            problems.append(
                f"{cell.folder}: in one place with {held.cell_id}, as only the weights they start "
                "from differ; the cell is left out"
            )
    return sorted(groups.values(), key=_group_order), problems


def _group_order(group: Group) -> tuple[bool, str, int, str]:
    return not group.is_paper, group.data, len(group.changes), group.title


def start_label(cell: Cell, cells: dict[str, Cell]) -> str | None:
    """Return the method of the cell started from, and in what else it is not as its child is.

    Settings that only the child's method has do not count.

    Args:
        cells: All cells by id.
    """
    if cell.start is None or SEPARATOR in cell.start:
        return _origin(cell)
    start = cells.get(cell.start)
    if start is None:
        return UNKNOWN
    settings = flat_settings(start)
    words = [start.method]
    if start.start is not None:
        words.append(f"init.from={_origin(start)}")
    if start.data != cell.data:
        words.append(f"data={start.data}")
    if start.seed != cell.seed:
        words.append(f"seed={start.seed}")
    if start.ratio not in (None, cell.ratio):
        words.append(f"ratio={start.ratio}")
    differing = {
        key: settings[key]
        for key in sorted(cell.changes | start.changes)
        if key in settings and start.changes.get(key) != cell.changes.get(key)
    }
    return " ".join(words + overrides(differing))


def _origin(cell: Cell) -> str | None:
    """Return the method of the cell that weights come from, or `checkpoint 1a2b3c4d`."""
    if cell.start is None:
        return None
    _, separator, digest = cell.start.rpartition(SEPARATOR)
    return f"{CHECKPOINT} {digest[:8]}" if separator else cell.start.partition("-")[0]


def flat_settings(cell: Cell) -> dict[str, Any]:
    """Return a cell's settings by dotted keys; `augmentation` and `optimizer` name the groups."""
    flat = flatten(cell.settings)
    return flat | {group: flat[f"{group}.name"] for group in ("augmentation", "optimizer")}


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted keys."""
    flat = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def overrides(changes: Changes) -> list[str]:
    """Write changes as they are typed; the data's fingerprint cannot be.

    >>> overrides({"method.projector": [64, 64], "steps": None, "data.fingerprint": "12ab"})
    ['method.projector=[64,64]', 'steps=null']
    """
    return [
        f"{key}={override_value(value)}"
        for key, value in changes.items()
        if key != "data.fingerprint"
    ]


def override_value(value: Any) -> str:
    """Write a value as Hydra reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def is_ablation(group: Group, groups: list[Group]) -> bool:
    """Whether a group only varies one method of another group with the same data and length."""
    tuned = [key for key in group.changes if key not in BUDGET and not key.startswith("data.")]
    if not tuned or len({row.method for row in group.rows}) > 1:
        return False
    changes = {key: value for key, value in group.changes.items() if key not in tuned}
    bases = [other for other in groups if (other.data, other.changes) == (group.data, changes)]
    return any(group.rows.keys() <= base.rows.keys() for base in bases)


def row_order(row: Row) -> tuple[str, float, str]:
    """Sort rows by model, then by unlabelled images per labelled one."""
    return row.model, unlabeled_per_labeled(row.ratio), str(row)


def unlabeled_per_labeled(ratio: str | None) -> float:
    """Return U / L of a ratio `L:U`; infinity for `all`, `none` and no ratio.

    >>> unlabeled_per_labeled("2:10"), unlabeled_per_labeled("all")
    (5.0, inf)
    """
    match = re.fullmatch(r"([1-9]\d{0,8}):([1-9]\d{0,8})", ratio or "")
    return int(match[2]) / int(match[1]) if match else math.inf


def slug(text: str) -> str:
    """Make a file's name of a title; long ones are cut and told apart by a hash.

    >>> slug("digits, the built-in stand-in, steps=40")
    'digits-the-built-in-stand-in-steps-40'
    """
    words = text.lower().replace("=-", "=minus")
    words = re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")
    if len(words) <= MAX_SLUG:
        return words
    return f"{words[: MAX_SLUG - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
