"""The commands that train what is missing, written from the cells that are there."""

import shlex

from sslbench.cell.folder import RUNNING
from sslbench.cell.record import DONE
from sslbench.tables.gather import Cell
from sslbench.tables.groups import CHECKPOINT, UNKNOWN, Group, flatten, overrides
from sslbench.tables.paper import Row

DEFAULT_ROOT = "data"
"""Where images are looked for if the command does not say."""


class Commands:
    """Writes commands; `groups` are all there are, `outputs` the folder of their cells."""

    def __init__(self, groups: list[Group], outputs: str) -> None:
        self._outputs = outputs
        self._known: dict[tuple[str, str], set[str]] = {}
        """The keys of each model's and method's settings."""
        for cell in (cell for group in groups for cell in group.cells()):
            for part in ("model", "method"):
                settings = cell.settings[part]
                known = self._known.setdefault((part, settings["name"]), set())
                known.update(flatten({part: settings}))

    def fill(self, group: Group, row: Row) -> str | None:
        """Return the command that trains a row's missing seeds.

        None if there are none, if the weights to start from are not a cell's that started from
        none, or if no cell shows that the row's parts have the settings that the group changes.
        """
        cells, init = group.rows.get(row, {}), row.init or ""
        settled = {seed for seed, cell in cells.items() if cell.status in (DONE, RUNNING)}
        seeds = [seed for seed in group.expected_seeds() if seed not in settled]
        nameless = init.startswith((CHECKPOINT, UNKNOWN)) or "init.from=" in init
        if not seeds or nameless or not self._applies(group, row):
            return None
        words = [f"model={row.model}", f"method={row.method}"]
        words += [f"ratio={row.ratio}"] if row.ratio else []
        words += _data_words(group.cells())
        words += overrides(group.changes)
        words += [f"init.from={self._start(group, init)}"] if init else []
        words.append("seed=" + ",".join(str(seed) for seed in seeds))
        words += [f"outputs={self._outputs}"] if self._outputs != "outputs" else []
        # Only a sweep trains the cell that `init.from` describes.
        multirun = "-m " if init or len(seeds) > 1 else ""
        return f"python -m sslbench.train {multirun}" + " ".join(map(_quoted, words))

    def _applies(self, group: Group, row: Row) -> bool:
        changed = {key for key in group.changes if key.startswith(("model.", "method."))}
        parts = ("model", row.model), ("method", row.method)
        known = set().union(*(self._known.get(part, ()) for part in parts))
        start_is_known = not row.init or ("method", row.init.split()[0]) in self._known
        return not changed or (changed <= known and start_is_known)

    def _start(self, group: Group, label: str) -> str:
        """Write a row's label as `init.from` takes it.

        A sweep drops the child's `method` overrides; those that its start has too are named again.
        """
        words = label.split()
        known = self._known.get(("method", words[0]), set())
        named = {word.partition("=")[0] for word in words}
        words += overrides(
            {
                key: value
                for key, value in group.changes.items()
                if key.startswith("method.") and key in known and key not in named
            }
        )
        return words[0] if len(words) == 1 else f"'{' '.join(words)}'"


def _data_words(cells: list[Cell]) -> list[str]:
    """Name the data set, and where it is unless the command would look there anyway."""
    places = [cell.settings["data"] for cell in cells]
    roots = {
        data["root"] for data in places if data["name"] == "layout" or data["root"] != DEFAULT_ROOT
    }
    names = sorted({f"data={data['name']}" for data in places})
    return names + [f"data.root={root}" for root in sorted(roots)[:1]]


def _quoted(word: str) -> str:
    """Quote for a shell: `init.from='barlow steps=9'` has quotes of its own, for Hydra."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
