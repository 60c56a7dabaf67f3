"""Cells sorted into groups that may be compared: the same data, the same changed settings."""

import hashlib
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from sslbench import paper
from sslbench.cell.identity import SEPARATOR
from sslbench.cell.record import DATA_TITLES, DONE, Changes, flatten
from sslbench.paper import Row
from sslbench.tables.gather import Cell

BUDGET = ("steps", "method.epochs")
"""Settings that shorten or lengthen a cell without changing what it is."""
MIN_SEEDS = 3
STAND_IN = "digits"
OWN_IMAGES = ("folder", "parquet", "torchvision")
"""Kinds of data that are somebody's own."""
PAPER_SETTINGS, DEFAULT_SETTINGS = "the paper's settings", "default settings"
MAX_SLUG = 60
UNUSUAL = re.compile(r"[^\w\s.,=:()\[\]'\"+-]|\b_|_\b", re.ASCII)
"""What a slug leaves out, and titles of ours do not have."""
CHECKPOINT, UNKNOWN = "checkpoint", "unknown weights"
"""Stand for weights that are no cell's, with a digest, and for those of a cell not there."""


@dataclass
class Group:
    """Cells with the same data and changes; `rows` holds each row's cells by seed."""

    data: str
    changes: Changes
    rows: dict[Row, dict[int, Cell]] = field(default_factory=dict)
    beside_paper: bool = True
    """Whether the paper is spoken of, which it is not in a report of somebody's own cells."""

    @property
    def is_paper(self) -> bool:
        """Whether its results may stand beside the paper's."""
        return self.data == paper.DATA and not self.changes

    @property
    def paper_heading(self) -> str | None:
        """What the paper's figures are called beside its results; None where they are not."""
        if not self.beside_paper or self.data == STAND_IN:
            return None
        return "paper" if self.is_paper else "paper (STL-10)"

    @property
    def data_name(self) -> str:
        return DATA_TITLES.get(self.data, self.data)

    @property
    def data_title(self) -> str:
        """Its data set's name, and which one it is where sets of one name may differ."""
        fingerprint = str(self.changes.get("data.fingerprint", ""))[:8]
        return f"{self.data_name} {fingerprint}".rstrip()

    @property
    def title(self) -> str:
        plain = PAPER_SETTINGS if self.beside_paper else DEFAULT_SETTINGS
        return f"{self.data_title}, {', '.join(overrides(self.changes)) or plain}"

    @property
    def images(self) -> tuple[str, Any]:
        """Tell its images from others': sets of one name may differ."""
        return self.data, self.changes.get("data.fingerprint")

    @property
    def has_own_images(self) -> bool:
        """Whether its images are somebody's own: not STL-10, nor laid out so, nor its stand-in."""
        settings = [cell.record.settings["data"] for cell in self.cells()]
        return any(data.get("kind", data["name"]) in OWN_IMAGES for data in settings)

    def done(self, row: Row) -> dict[int, Cell]:
        """Return a row's finished cells by seed."""
        cells = sorted(self.rows.get(row, {}).items())
        return {seed: cell for seed, cell in cells if cell.status == DONE}

    def sound(self, row: Row) -> dict[int, Cell]:
        """Return a row's finished cells that are better than chance, by seed."""
        return {seed: cell for seed, cell in self.done(row).items() if not cell.collapse}

    def cells(self) -> list[Cell]:
        return [cell for cells in self.rows.values() for cell in cells.values()]

    def chosen_rows(self) -> list[Row]:
        """Return the rows that somebody chose: those with cells, and the holes of their grid.

        A hole is of a model that was trained in two ways or more, in a way that two models or more
        were. In the paper's settings all its rows are chosen.
        """
        models = Counter(row.model for row in self.rows)
        ways = Counter(row._replace(model="") for row in self.rows)
        holes = [
            way._replace(model=model)
            for way in ways
            for model in models
            if ways[way] > 1 and models[model] > 1
        ]
        return list(dict.fromkeys([*self.rows, *holes, *(paper.ROWS if self.is_paper else ())]))

    def expected_seeds(self) -> list[int]:
        """Return the seeds that any cell has, and as many more as make three."""
        seeds = {cell.seed for cell in self.cells()}
        others = (seed for seed in count() if seed not in seeds)
        return sorted([*seeds, *islice(others, max(0, MIN_SEEDS - len(seeds)))])


def find_groups(cells: list[Cell]) -> tuple[list[Group], list[str]]:
    """Sort cells into groups, the paper's own settings first; name those that have no place."""
    by_id = {cell.cell_id: cell for cell in cells}
    groups: dict[str, Group] = {}
    problems = []
    for cell in cells:
        changes = cell.record.changes
        key = json.dumps([cell.data, changes], sort_keys=True)
        group = groups.setdefault(key, Group(cell.data, changes))
        row = Row(cell.method, cell.model, cell.ratio, _start_label(cell, by_id))
        held = group.rows.setdefault(row, {}).setdefault(cell.seed, cell)
        if held is not cell:
            problems.append(f"{cell.folder}: in one place with {held.cell_id}; it is left out")
    order = sorted(groups.values(), key=lambda g: (not g.is_paper, g.data, len(g.changes), g.title))
    return order, problems


def _start_label(cell: Cell, cells: dict[str, Cell]) -> str | None:
    """Return the method of the cell started from, and in what else it is not as its child is."""
    if cell.start is None:
        return None
    _, separator, digest = cell.start.rpartition(SEPARATOR)
    if separator:
        return f"{CHECKPOINT} {digest[:8]}"
    if cell.start not in cells:
        return UNKNOWN
    start = cells[cell.start]
    origin = (start.start or "").partition("-")[0]
    theirs = {"init.from": origin, "data": start.data, "seed": start.seed}
    childs = {"init.from": "", "data": cell.data, "seed": cell.seed}
    theirs |= {"ratio": start.ratio} | start.record.changes
    childs |= {"ratio": start.ratio and cell.ratio} | cell.record.changes
    settings = flatten(start.record.settings) | theirs  # the child's method may have more settings
    keys = sorted(key for key in settings if theirs.get(key) != childs.get(key))
    return " ".join([start.method, *overrides({key: settings[key] for key in keys})])


def overrides(changes: Changes) -> list[str]:
    """Write changes as they are typed, `method.projector=[64,64]`; a fingerprint cannot be."""
    typed = {key: value for key, value in changes.items() if key != "data.fingerprint"}
    return [f"{key}={written(value)}" for key, value in typed.items()]


def written(value: Any) -> str:
    """Write a value as Hydra reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def is_ablation(group: Group, groups: list[Group]) -> bool:
    """Whether a group only varies settings of one method: of a base in `groups`, or as others do.

    A base has the same rows and fewer of these settings; others have the same ones, with other
    values. Length and data are no such settings.
    """
    mine, rest = _split(group.changes)
    if not mine or len({row.method for row in group.rows}) > 1:
        return False
    for other in groups:
        theirs, others_rest = _split(other.changes)
        if other is group or (other.data, others_rest) != (group.data, rest):
            continue
        is_base = group.rows.keys() <= other.rows.keys() and theirs.items() < mine.items()
        is_sibling = group.rows.keys() & other.rows.keys() and theirs.keys() == mine.keys()
        if is_base or (is_sibling and len({row.method for row in other.rows}) == 1):
            return True
    return False


def main_group(groups: list[Group]) -> Group | None:
    """Return the group that a report is on: the paper's settings, else the most finished cells."""
    own = [group for group in groups if not is_ablation(group, groups)] or groups

    def order(group: Group) -> tuple[bool, int]:
        return group.is_paper, sum(len(group.done(row)) for row in group.rows)

    return max(own, key=order, default=None)


def has_paper_rows(groups: list[Group]) -> bool:
    """Whether there is anything to set beside the paper: its settings on STL-10, or its rows.

    These count on other than one's own images, and not where they are an ablation of a setting.
    """
    counts = Counter((group.data, row) for group in groups for row in group.rows)
    own = [g for g in groups if not (g.has_own_images or is_ablation(g, groups))]
    places = [(g, row) for g in own for row in g.rows]
    return any(g.is_paper or (counts[g.data, row] == 1 and row in paper.ROWS) for g, row in places)


def _split(changes: Changes) -> tuple[dict[str, str], dict[str, str]]:
    """Return the changes of settings as JSON, and apart from them those of length and data."""
    texts = {key: json.dumps(value, sort_keys=True) for key, value in changes.items()}
    rest = {key: text for key, text in texts.items() if key in BUDGET or key.startswith("data.")}
    return {key: text for key, text in texts.items() if key not in rest}, rest


def row_order(row: Row) -> tuple[str, float, str]:
    """Sort rows by model, then by unlabelled images per labelled one."""
    return row.model, unlabeled_per_labeled(row.ratio), str(row)


def paper_order(row: Row) -> tuple:
    """Sort rows by method as the paper does, then by what they start from, ratio and model."""
    rank = [*paper.METHODS, row.method].index(row.method)
    return rank, row.method, row.init or "", unlabeled_per_labeled(row.ratio), row.model


def unlabeled_per_labeled(ratio: str | None) -> float:
    """Return U / L of a ratio `L:U`; infinity for `all`, `none` and no ratio."""
    match = re.fullmatch(r"([1-9]\d{0,8}):([1-9]\d{0,8})", ratio or "")
    return int(match[2]) / int(match[1]) if match else math.inf


def slug(text: str) -> str:
    """Make a file's name of a title; what is cut or left out is told apart by a hash."""
    words = re.sub(r"[^a-z0-9.]+", "-", text.lower().replace("=-", "=minus")).strip("-.")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    tells = words and len(words) <= MAX_SLUG and not UNUSUAL.search(text)
    return words if tells else f"{words[: MAX_SLUG - 9]}-{digest}".strip("-")
