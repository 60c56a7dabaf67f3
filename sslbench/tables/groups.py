"""Cells sorted into groups that may be compared: the same data, the same changed settings."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sslbench.cell.identity import SEPARATOR
from sslbench.cell.record import DONE, Record
from sslbench.data import dataset_name
from sslbench.tables import paper
from sslbench.tables.changes import (
    Changes,
    composed,
    describe,
    find_changes,
    flatten,
    override_value,
    settings_from_dict,
)
from sslbench.tables.gather import Cell
from sslbench.tables.paper import Metric, Row

DATA_TITLES = {"stl10": "STL-10", "digits": "digits, the built-in stand-in"}
BUDGET = ("steps", "method.epochs")
"""Settings that shorten or lengthen a cell without changing what it is."""
MIN_SEEDS = 3
PAPER_SETTINGS = "the paper's settings"
MAX_SLUG = 60
CHECKPOINT, UNKNOWN = "checkpoint", "unknown weights"
"""Stand for weights that are no cell's, with a digest, and for those of a cell not there."""


@dataclass(frozen=True)
class Entry:
    """A cell and its place: a row of some group's tables."""

    cell: Cell
    row: Row
    seed: int
    start: str | None
    """The cell or file whose weights it started from."""
    data: str
    data_root: str | None
    """Where the images are, if not where the config tree looks."""
    changes: Changes

    def value(self, metric: Metric) -> float | None:
        """Return a figure of a finished cell."""
        assert self.cell.record is not None
        return self.cell.record.results.get(metric.split, {}).get(metric.name)

    def num_images(self, split: str) -> int:
        """Return how many images an accuracy of a split is a share of."""
        assert self.cell.record is not None
        return _num_images(self.cell.record, split)


@dataclass
class Group:
    """Cells with the same data and changes; `rows` holds each row's cells by seed."""

    data: str
    changes: Changes
    rows: dict[Row, dict[int, Entry]] = field(default_factory=dict)

    @property
    def is_paper(self) -> bool:
        """Whether its figures may stand beside the paper's."""
        return self.data == paper.DATA and not self.changes

    @property
    def title(self) -> str:
        changed = {key: value for key, value in self.changes.items() if key != "data.fingerprint"}
        name = DATA_TITLES.get(self.data, self.data)
        if "data.fingerprint" in self.changes:
            name += f" {self.changes['data.fingerprint'][:8]}"
        return f"{name}, {describe(changed) or PAPER_SETTINGS}"

    def done(self, row: Row) -> dict[int, Entry]:
        """Return a row's finished cells by seed."""
        cells = self.rows.get(row, {})
        return {seed: cells[seed] for seed in sorted(cells) if cells[seed].cell.status == DONE}

    def states(self, row: Row) -> Counter[str]:
        """Count a row's cells by status."""
        return Counter(entry.cell.status for entry in self.rows.get(row, {}).values())

    def entries(self) -> list[Entry]:
        return [entry for cells in self.rows.values() for entry in cells.values()]

    def expected_seeds(self) -> list[int]:
        """Return the seeds that any cell has, and as many more as make three."""
        seeds = {entry.seed for entry in self.entries()}
        extra = (seed for seed in range(len(seeds) + MIN_SEEDS) if seed not in seeds)
        return sorted([*seeds, *(next(extra) for _ in range(MIN_SEEDS - len(seeds)))])

    def command(self, row: Row, outputs: str) -> str | None:
        """Return the command that trains a row's missing seeds.

        None if there are none, if the weights to start from are not a cell's that started from
        none, or if the group's changes are of settings that the row's model or method does not
        have.
        """
        init = row.init or ""
        nameless = init.startswith((CHECKPOINT, UNKNOWN)) or "init.from=" in init
        if nameless or not self._applies_to(row):
            return None
        held = self.rows.get(row, {})
        settled = (DONE, "running")
        seeds = [s for s in self.expected_seeds() if s not in held or not _is(held[s], settled)]
        if not seeds:
            return None
        words = [f"model={row.model}", f"method={row.method}"]
        words += [f"ratio={row.ratio}"] if row.ratio else []
        words += sorted({f"data={entry.cell.settings['data']['name']}" for entry in self.entries()})
        roots = {entry.data_root for entry in self.entries()} - {None}
        words += [f"data.root={root}" for root in sorted(roots)[:1]]
        words += [
            f"{key}={override_value(value)}"
            for key, value in self.changes.items()
            if key != "data.fingerprint"
        ]
        if row.init:
            words.append(f"init.from={self._start(row.init)}")
        words.append("seed=" + ",".join(str(seed) for seed in seeds))
        words += [f"outputs={outputs}"] if outputs != "outputs" else []
        # Only a sweep trains the cell that `init.from` describes.
        multirun = "-m " if row.init or len(seeds) > 1 else ""
        return f"python -m sslbench.train {multirun}" + " ".join(_quoted(word) for word in words)

    def _applies_to(self, row: Row) -> bool:
        model, method = composed((f"model={row.model}",)), composed((f"method={row.method}",))
        if model is None or method is None:
            return False
        known = flatten({"model": asdict(model.model), "method": asdict(method.method)})
        return all(key in known for key in self.changes if key.startswith(("model.", "method.")))

    def _start(self, label: str) -> str:
        """Write a row's label as `init.from` takes it.

        A sweep drops the child's `method` overrides; those that its start has too are named again.
        """
        words = label.split()
        named = {word.partition("=")[0] for word in words}
        start = composed((f"method={words[0]}",))
        known = flatten(asdict(start)) if start else {}
        words += [
            f"{key}={override_value(value)}"
            for key, value in self.changes.items()
            if key.startswith("method.") and key in known and key not in named
        ]
        return words[0] if len(words) == 1 else f"'{' '.join(words)}'"


def _is(entry: Entry, statuses: Iterable[str]) -> bool:
    return entry.cell.status in statuses


def _quoted(word: str) -> str:
    if "'" in word:
        return f'"{word}"'
    safe = all(character.isalnum() or character in "@%+=:,./-_~" for character in word)
    return word if safe else f"'{word}'"


def find_groups(cells: Iterable[Cell]) -> tuple[list[Group], list[str]]:
    """Sort cells into groups, the paper's own settings first; name those that have no place."""
    entries: dict[str, Entry] = {}
    problems = []
    for cell in cells:
        try:
            entries[cell.cell_id] = place(cell)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(
                f"{cell.folder}: settings or results are not as this version writes them "
                f"({type(error).__name__}: {error}); the cell is left out"
            )
    groups: dict[str, Group] = {}
    for entry in entries.values():
        row = entry.row
        if entry.start is not None and SEPARATOR not in entry.start:
            start = entries.get(entry.start)
            row = row._replace(init=initial_label(entry, start) if start else UNKNOWN)
        key = json.dumps([entry.data, entry.changes], sort_keys=True)
        group = groups.setdefault(key, Group(entry.data, entry.changes))
        held = group.rows.setdefault(row, {})
        if entry.seed in held:
            problems.append(
                f"{entry.cell.folder}: in one place with {held[entry.seed].cell.cell_id}, as only "
                "the weights they start from differ; the cell is left out"
            )
        else:
            held[entry.seed] = replace(entry, row=row)
    return sorted(groups.values(), key=_order), problems


def _order(group: Group) -> tuple[bool, str, int, str]:
    return (not group.is_paper, group.data, len(group.changes), group.title)


def place(cell: Cell) -> Entry:
    """Find the row and the group of a cell.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If its record is of another version.
    """
    settings = settings_from_dict(cell.settings)
    for name in (settings.model.name, settings.data.name, settings.ratio.name):
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is no name")
    data = dataset_name(settings.data)
    if cell.record is not None and cell.status == DONE:
        data = str(cell.record.data["name"])
        _require_figures(cell.record)
    method = settings.method.name
    row = Row(
        method=method,
        model=settings.model.name,
        ratio=settings.ratio.name if settings.method.uses_pool else None,
        init=_initial_method(settings.init_from),
    )
    root = settings.data.root
    same_root = root == composed((f"data={settings.data.name}",)).data.root
    return Entry(
        cell,
        row,
        settings.seed,
        settings.init_from,
        data,
        None if same_root else root,
        find_changes(settings),
    )


def _require_figures(record: Record) -> None:
    for split in ("train", "val", "test"):
        figures = record.results[split]
        accuracy, loss = figures["accuracy"], figures.get("loss")
        num_images = _num_images(record, split)
        if not (_is_number(accuracy) and 0 <= accuracy <= 1):
            raise ValueError(f"the {split} accuracy is {accuracy!r}")
        if not (loss is None or _is_number(loss)):
            raise ValueError(f"the {split} loss is {loss!r}")
        if not (isinstance(num_images, int) and num_images > 0):
            raise ValueError(f"{num_images!r} {split} images")


def _num_images(record: Record, split: str) -> int:
    if split != "train":
        return record.data[f"num_{split}"]
    num_labeled = record.data["num_labeled"]
    # The last steps may see fewer images than there are, or some again; old records do not say.
    return min(record.results["train"].get("num_images", num_labeled), num_labeled)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _initial_method(init_from: str | None) -> str | None:
    """Return the method of the cell that weights come from, or `checkpoint 1a2b3c4d`."""
    if init_from is None:
        return None
    if SEPARATOR in init_from:
        return f"{CHECKPOINT} {init_from.rpartition(SEPARATOR)[2][:8]}"
    return init_from.partition("-")[0]


def initial_label(entry: Entry, start: Entry) -> str:
    """Return the method of the cell started from, and in what else it is not as its child is.

    Settings that only the child's method has do not count.
    """
    settings = flat_settings(start)
    words = [start.row.method]
    if start.start is not None:
        words.append(f"init.from={start.row.init}")
    if start.data != entry.data:
        words.append(f"data={start.data}")
    if start.seed != entry.seed:
        words.append(f"seed={start.seed}")
    if start.row.ratio not in (None, entry.row.ratio):
        words.append(f"ratio={start.row.ratio}")
    words += [
        f"{key}={override_value(settings[key])}"
        for key in sorted(entry.changes | start.changes)
        if key in settings and start.changes.get(key) != entry.changes.get(key)
    ]
    return " ".join(words)


def flat_settings(entry: Entry) -> dict[str, Any]:
    """Return a cell's settings by dotted keys; `augmentation` and `optimizer` name the groups."""
    flat = flatten(entry.cell.settings)
    return flat | {group: flat[f"{group}.name"] for group in ("augmentation", "optimizer")}


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
