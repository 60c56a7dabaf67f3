"""The commands that train what is missing, written from the cells that are there."""

import re
import shlex
from pathlib import Path
from typing import Any

from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE
from sslbench.tables.gather import Cell
from sslbench.tables.groups import CHECKPOINT, UNKNOWN, Group, overrides
from sslbench.tables.paper import Row

OF_ALL_METHODS = ("method.epochs", "method.batch_size")
SETTING = re.compile(r"(?!hydra\b)[a-z]\w*(\.\w+)*=[^\x00-\x1f\x7f]*", re.ASCII)
"""A word of a command that is a setting, and neither an option nor Hydra's own."""
HERE = ("stl10", "digits")
"""Kinds of data that need no place to be named."""
DEFAULT_ROOT = "data"
"""Where images are looked for if the command does not say."""


def fill(group: Group, row: Row, outputs: str) -> str | None:
    """Return the command that trains a row's missing seeds, or None where none is known to.

    It is written from records, which may be others', to be pasted: none sets more than settings.
    """
    init = row.init or ""
    cells = group.rows.get(row, {})
    settled = {seed for seed, cell in cells.items() if cell.status in (DONE, RUNNING)}
    seeds = [seed for seed in group.expected_seeds() if seed not in settled]
    nameless = init.startswith((CHECKPOINT, UNKNOWN)) or "init.from=" in init
    is_known = any(row.model == other.model for other in group.rows)
    if not seeds or nameless or ("model." in " ".join(group.changes) and not is_known):
        return None
    words = [f"model={row.model}", f"method={row.method}"]
    words += [f"ratio={row.ratio}"] if row.ratio else []
    words += _data_words(group.cells()) + overrides(group.changes)
    if init:
        # A sweep drops the child's `method` overrides, so that those of its start are named.
        named = {word.partition("=")[0] for word in init.split()}
        shared = {key: group.changes[key] for key in OF_ALL_METHODS if key in group.changes}
        own = {key: value for key, value in shared.items() if key not in named}
        start = " ".join([init, *overrides(own)])
        words.append(f"init.from='{start}'" if " " in start else f"init.from={start}")
    words.append("seed=" + ",".join(map(str, seeds)))
    words += [f"outputs={outputs}"] if outputs != "outputs" else []
    if not all(SETTING.fullmatch(word) for word in [*words, *init.split()[1:]]):
        return None
    # Only a sweep trains the cell that `init.from` describes.
    multirun = "-m " if init or len(seeds) > 1 else ""
    return f"python -m sslbench.train {multirun}" + " ".join(map(_quoted, words))


def _data_words(cells: list[Cell]) -> list[str]:
    """Name the data set, and where it is unless the command would look there anyway."""
    data = [cell.record.settings["data"] for cell in cells]
    places = {(each.get("kind", each["name"]), each["root"]) for each in data}
    roots = sorted(root for kind, root in places if kind not in HERE or root != DEFAULT_ROOT)
    kinds = sorted({f"data={kind}" for kind, _ in places})
    return kinds + [f"data.root={root}" for root in roots[:1]] + _name_words(data)


def _name_words(data: list[dict[str, Any]]) -> list[str]:
    """Return what names the data set, where it has another name than it would get anyway."""
    for each in data:
        usual = (each["kind"] if "kind" in each else each["name"], Path(each["root"]).name)
        if each["name"] not in (*usual, each.get("dataset")):
            return [f"data.name={each['name']}"]
    return []


def _quoted(word: str) -> str:
    """Quote for a shell: `init.from='barlow steps=9'` has quotes of its own, for Hydra."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
