"""The commands that train what is missing, written from the cells that are there.

They are written from records, which may be others', to be pasted: none sets more than settings.
Values are quoted for Hydra, and the words for a shell.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sslbench.cell.folder import RUNNING, WAITING
from sslbench.cell.record import DONE, Changes
from sslbench.tables import paper
from sslbench.tables.gather import Cell
from sslbench.tables.groups import (
    CHECKPOINT,
    UNKNOWN,
    Group,
    overrides,
    unlabeled_per_labeled,
    written,
)
from sslbench.tables.paper import Row

OF_ALL_METHODS = ("method.epochs", "method.batch_size")
KEY = re.compile(r"(?!hydra\b)[a-z]\w*(\.\w+)*", re.ASCII)
"""What a setting is called, and neither an option nor one of Hydra's own."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BARE = re.compile(r"[\w/.:+@%*?|-]+( [\w/.:+@%*?|-]+)*", re.ASCII)
"""Text that Hydra reads without quotes, unless it would be a number or another value."""
NO_TEXT = re.compile(r"(true|false|null|nan|[+-]?inf|[+-]?[\d._]+(e[+-]?\d+)?)", re.I)
HERE = ("stl10", "digits")
"""Kinds of data that need no place to be named."""
DEFAULT_ROOT = "data"
"""Where images are looked for if the command does not say."""


def fill(group: Group, rows: Iterable[Row], outputs: str) -> list[str]:
    """Return the commands that train the missing seeds of rows, as few as say no more than that.

    None are known for rows that start from weights without a name, that the data have too few
    unlabelled images for, or that would need another model's settings.
    """
    gaps = {
        row: seeds for row in rows if _is_possible(group, row) and (seeds := missing(group, row))
    }
    if _is_papers(group, gaps):
        words = ["experiment=paper", *_data_words(group.cells(), default=paper.DATA)]
        return _command([*words, *_settings(group.changes)], group.expected_seeds(), outputs)
    library = _library_models(group)
    bundles: dict[tuple, list[str]] = {}
    for row, seeds in gaps.items():
        apart = row.model if row.model in library else None
        key = (row.method, row.ratio, row.init, tuple(seeds), apart)
        bundles.setdefault(key, []).append(row.model)
    merged: dict[tuple, list[str]] = {}
    for (method, ratio, init, seeds, _), models in bundles.items():
        merged.setdefault((method, init, seeds, tuple(models)), []).append(ratio)
    commands = []
    for (method, init, seeds, models), ratios in merged.items():
        words = [f"model={library.get(models[0], ','.join(models))}", f"method={method}"]
        words += [setting("model.name", models[0])] if models[0] in library else []
        words += [f"ratio={','.join(ratios)}"] if ratios[0] else []
        words += _data_words(group.cells()) + _settings(group.changes)
        words += [_start(init, group.changes)] if init else []
        commands += _command(words, list(seeds), outputs, sweeps=bool(init))
    return commands


def fill_command(wanted: Iterable[tuple[Group, Iterable[Row]]], outputs: str) -> str | None:
    """Return the one line that trains all that is missing of groups' rows; None if nothing is."""
    commands = [command for group, rows in wanted for command in fill(group, rows, outputs)]
    return " && ".join(commands) or None


def missing(group: Group, row: Row) -> list[int]:
    """Return the seeds of a row that are neither finished nor running."""
    cells = group.rows.get(row, {})
    settled = {seed for seed, cell in cells.items() if cell.status in (DONE, RUNNING, WAITING)}
    return [seed for seed in group.expected_seeds() if seed not in settled]


def _is_possible(group: Group, row: Row) -> bool:
    init = row.init or ""
    if init.startswith((CHECKPOINT, UNKNOWN)) or "init.from=" in init or set("'\"\\") & set(init):
        return False
    is_known = any(row.model == other.model for other in group.rows)
    if not is_known and any(key.startswith("model.") for key in group.changes):
        return False
    counts = [cell.record.data for cell in group.cells() if cell.status == DONE]
    if not counts or row.ratio in (None, "all") or group.changes.get("ratio.of") == "batch":
        return True
    labeled, unlabeled = (counts[0].get(f"num_{name}", 0) for name in ("labeled", "unlabeled"))
    return labeled * unlabeled_per_labeled(row.ratio) <= unlabeled


def _is_papers(group: Group, gaps: Iterable[Row]) -> bool:
    """Whether the paper's experiment asks for all that is missing and nothing else."""
    chosen = set(group.chosen_rows())
    plain = not any(key.startswith(("method.", "model.")) for key in group.changes)
    plain = plain and all(_is_possible(group, row) for row in paper.ROWS)
    return plain and chosen >= set(paper.ROWS) >= set(gaps) and len(list(gaps)) > 1


def _command(
    words: list[str | None], seeds: list[int], outputs: str, *, sweeps: bool = True
) -> list[str]:
    """Return a command in a list, or none where a word of it may not be pasted."""
    words = [*words, "seed=" + ",".join(map(str, seeds))]
    words += [setting("outputs", outputs)] if outputs != "outputs" else []
    if None in words:
        return []
    # Only a sweep trains several cells, or the one that `init.from` describes.
    is_sweep = sweeps or len(seeds) > 1 or any("," in word for word in words[:3])
    return [f"python -m sslbench.train {'-m ' * is_sweep}{' '.join(map(_for_shell, words))}"]


def _library_models(group: Group) -> dict[str, str]:
    """Return which choice of the group `model` stands for those that go by a library's names."""
    settings = {cell.model: cell.record.settings["model"] for cell in group.cells()}
    return {model: its["choice"] for model, its in settings.items() if "choice" in its}


def _settings(changes: Changes) -> list[str | None]:
    typed = {key: value for key, value in changes.items() if key != "data.fingerprint"}
    return [setting(key, value) for key, value in typed.items()]


def setting(key: str, value: object) -> str | None:
    """Write a setting as Hydra is to read it; None of what is no setting or holds other lines.

    >>> setting("outputs", "a,b"), setting("model.widths", [8, 16]), setting("steps", 40)
    ('outputs="a,b"', 'model.widths=[8,16]', 'steps=40')
    """
    text = written(value)
    if not KEY.fullmatch(key) or CONTROL.search(text):
        return None
    if not isinstance(value, str) or (BARE.fullmatch(text) and not NO_TEXT.fullmatch(text)):
        return f"{key}={text}"
    # Backslashes before a quote are doubled, and `${` would be another setting's value.
    text = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + '\\"' * bool(found[2]), text)
    return f'{key}="{text}"'.replace("${", "\\${")


def _start(init: str, changes: Changes) -> str | None:
    """Write what a row starts from, with the settings of its own."""
    # A sweep drops the child's `method` overrides, so that those of its start are named.
    named = {word.partition("=")[0] for word in init.split()}
    if not all(KEY.fullmatch(word.partition("=")[0]) for word in init.split()):
        return None
    shared = {key: changes[key] for key in OF_ALL_METHODS if key in changes}
    own = {key: value for key, value in shared.items() if key not in named}
    start = " ".join([init, *overrides(own)])
    return f"init.from='{start}'" if " " in start else f"init.from={start}"


def _data_words(cells: list[Cell], default: str | None = None) -> list[str | None]:
    """Name the data set, and where it is unless the command would look there anyway."""
    data = [cell.record.settings["data"] for cell in cells]
    places = {(each.get("kind", each["name"]), each["root"]) for each in data}
    roots = sorted(root for kind, root in places if kind not in HERE or root != DEFAULT_ROOT)
    kinds = sorted({f"data={kind}" for kind, _ in places if kind != default})
    return kinds + [setting("data.root", root) for root in roots[:1]] + _name_words(data)


def _name_words(data: list[dict[str, Any]]) -> list[str | None]:
    """Return what names the data set, where it has another name than it would get anyway."""
    for each in data:
        usual = (each["kind"] if "kind" in each else each["name"], Path(each["root"]).name)
        if each["name"] not in (*usual, each.get("dataset")):
            return [setting("data.name", each["name"])]
    return []


def _for_shell(word: str) -> str:
    """Quote for a shell: `init.from='barlow steps=9'` has quotes of its own, for Hydra."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
