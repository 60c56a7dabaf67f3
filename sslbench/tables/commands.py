"""The commands that train what is missing, written from the cells that are there."""

import shlex
from collections import defaultdict

from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE
from sslbench.tables.gather import Cell
from sslbench.tables.groups import CHECKPOINT, UNKNOWN, Group, flatten, overrides
from sslbench.tables.paper import Row

PARTS = ("model", "method")
DEFAULT_ROOT = "data"
"""Where images are looked for if the command does not say."""


class Commands:
    """Writes commands; `groups` are all there are, `outputs` the folder of their cells."""

    def __init__(self, groups: list[Group], outputs: str) -> None:
        self._outputs = outputs
        self._keys: dict[str, set[str]] = defaultdict(set)
        """The keys of the settings of each part, such as `model=convnet`, that cells show."""
        cells = [cell for group in groups for cell in group.cells()]
        shown = {f"{part}={c.settings[part]['name']}": c for c in cells for part in PARTS}
        for word, cell in shown.items():
            part = word.partition("=")[0]
            self._keys[word].update(flatten(cell.settings[part], part))

    def fill(self, group: Group, row: Row) -> str | None:
        """Return the command that trains a row's missing seeds.

        None if there are none, if the weights to start from are not a cell's that started from
        none, or if no cell shows that the row's parts have the settings that the group changes.
        """
        cells, init = group.rows.get(row, {}), row.init or ""
        settled = {seed for seed, cell in cells.items() if cell.status in (DONE, RUNNING)}
        seeds = [seed for seed in group.expected_seeds() if seed not in settled]
        nameless = init.startswith((CHECKPOINT, UNKNOWN)) or "init.from=" in init
        words = [f"model={row.model}", f"method={row.method}"]
        changed = {key for key in group.changes if key.startswith(("model.", "method."))}
        unknown = changed - self._keys[words[0]] - self._keys[words[1]]
        if not seeds or nameless or unknown:
            return None
        words += [f"ratio={row.ratio}"] if row.ratio else []
        words += _data_words(group.cells()) + overrides(group.changes)
        if init:
            method, *of_start = init.split()
            start_keys = self._keys[f"method={method}"]
            if changed and not start_keys:
                return None
            # A sweep drops the child's `method` overrides; those that its start has are named.
            shared = start_keys - {word.partition("=")[0] for word in of_start}
            of_start += overrides({k: v for k, v in group.changes.items() if k in shared})
            start = f"'{' '.join([method, *of_start])}'" if of_start else method
            words.append(f"init.from={start}")
        words.append("seed=" + ",".join(map(str, seeds)))
        words += [f"outputs={self._outputs}"] if self._outputs != "outputs" else []
        # Only a sweep trains the cell that `init.from` describes.
        multirun = "-m " if init or len(seeds) > 1 else ""
        return f"python -m sslbench.train {multirun}" + " ".join(map(_quoted, words))


def _data_words(cells: list[Cell]) -> list[str]:
    """Name the data set, and where it is unless the command would look there anyway."""
    places = {(cell.settings["data"]["name"], cell.settings["data"]["root"]) for cell in cells}
    roots = sorted(root for name, root in places if name == "layout" or root != DEFAULT_ROOT)
    names = sorted({f"data={name}" for name, _ in places})
    return names + [f"data.root={root}" for root in roots[:1]]


def _quoted(word: str) -> str:
    """Quote for a shell: `init.from='barlow steps=9'` has quotes of its own, for Hydra."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
