"""The command that trains what is missing, written from the cells that are there.

One sweep has grids of its own for what differs in more than an axis.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sslbench import paper
from sslbench.cell.folder import RUNNING, WAITING
from sslbench.cell.record import DONE, Changes
from sslbench.paper import Row
from sslbench.tables.gather import Cell
from sslbench.tables.groups import CHECKPOINT, UNKNOWN, Group, overrides, unlabeled_per_labeled
from sslbench.tables.quoting import CONTROL, KEY, as_grids, for_shell, setting

Axes = dict[str, str]
"""Settings of some cells as Hydra reads them; `model=a,b` is both, in the order to be typed."""
OF_ALL_METHODS = ("method.epochs", "method.batch_size")
JOINED = ("model.name", "model", "ratio")
"""Settings whose values first become an axis where all else agrees."""
TRACKED = ("mode", "project", "entity", "group")
HERE = ("stl10", "digits")
"""Kinds of data that need no place to be named."""
DEFAULT_ROOT = "data"
"""Where images are looked for if the command does not say."""


def fill_command(wanted: Iterable[tuple[Group, Iterable[Row]]], outputs: str) -> str | None:
    """Return the one line that trains the missing seeds of groups' rows; None if nothing is.

    It trains no more than that, but for `experiment=paper`, which also finds what is done. None is
    known for rows that start from weights without a name, that the data have too few unlabelled
    images for, or that would need another model's settings.
    """
    gaps = [
        (group, row, seeds)
        for group, rows in wanted
        for row in rows
        if _is_possible(group, row) and (seeds := missing(group, row))
    ]
    groups = list({id(group): group for group, _, _ in gaps}.values())
    cells = [cell for group in groups for cell in group.cells()]
    num_cells = sum(len(seeds) for _, _, seeds in gaps)
    if len(groups) == 1 and _is_papers(groups[0], [row for _, row, _ in gaps]):
        data = _data_words(cells, default=paper.DATA)
        words = ["experiment=paper", *data, *_settings(groups[0].changes)]
        grids = [_axes([*words, _seeds(groups[0].expected_seeds())])]
    else:
        grids = [_axes(_words(*gap)) for gap in gaps]
    grids = [axes for axes in grids if axes]
    for key in dict.fromkeys([*JOINED, *(key for axes in grids for key in axes if "." in key)]):
        grids = _joined(grids, key)
    if not grids:
        return None
    common = _common(grids)
    own = [{key: it for key, it in axes.items() if key not in common} for axes in grids]
    words = [f"{key}={value}" for key, value in common.items()]
    words += [as_grids(own)] if len(own) > 1 else []
    words += _how_words(cells) + [setting("outputs", outputs)] * (outputs != "outputs")
    # Only a sweep trains several cells, or the one that `init.from` describes.
    is_sweep = num_cells > 1 or {"init.from", "experiment"} & common.keys()
    if None in words:
        return None
    options = [word for folder in _config_dirs(cells) for word in ("--config-dir", folder)]
    options += ["-m"] if is_sweep else []
    return " ".join(map(for_shell, ["python", "-m", "sslbench.train", *options, *words]))


def _words(group: Group, row: Row, seeds: list[int]) -> list[str | None]:
    """Write a row of a group as it is typed, to train seeds of it."""
    library = _library_models(group)
    words = [f"model={library.get(row.model, row.model)}"]
    words += [setting("model.name", row.model)] if row.model in library else []
    words += [f"method={row.method}"]
    words += [f"ratio={row.ratio}"] if row.ratio else []
    words += _data_words(group.cells()) + _settings(group.changes)
    words += [_start(row.init, group.changes)] if row.init else []
    return [*words, _seeds(seeds)]


def _seeds(seeds: list[int]) -> str:
    return "seed=" + ",".join(map(str, seeds))


def _axes(words: list[str | None]) -> Axes:
    """Return settings by key; none at all where one of them may not be pasted."""
    if None in words:
        return {}
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _joined(grids: list[Axes], key: str) -> list[Axes]:
    """Make one of grids that agree in all but `key`, and in having one."""
    found: dict[tuple, Axes] = {}
    for number, axes in enumerate(grids):
        # Names of a library's models are its own, and so are the settings of one model.
        is_alone = key not in axes or (key == "model" and "model.name" in axes)
        rest = tuple((name, it) for name, it in axes.items() if name != key)
        first = found.setdefault((rest, number if is_alone else None), axes)
        if first is not axes:
            first[key] += f",{axes[key]}"
    return list(found.values())


def _common(grids: list[Axes]) -> Axes:
    first = grids[0]
    return {key: it for key, it in first.items() if all(axes.get(key) == it for axes in grids)}


def _how_words(cells: list[Cell]) -> list[str | None]:
    """Write where most cells' curves are tracked, unless that is where they are anyway."""
    tracking = [cell.record.settings["tracking"] for cell in cells]
    names = Counter(each["name"] for each in tracking)
    name = max(names, key=names.__getitem__)
    if name != "wandb":
        return [setting("tracking", name)]
    of_name = [each for each in tracking if each["name"] == name]
    values = {key: {each.get(key) for each in of_name} for key in TRACKED}
    alike = {key: next(iter(each)) for key, each in values.items() if len(each) == 1}
    known = {key: value for key, value in alike.items() if value not in (None, "auto")}
    return [setting(f"tracking.{key}", value) for key, value in known.items()]


def _config_dirs(cells: list[Cell]) -> list[str]:
    """Return the folders whose choices cells were asked for with, as far as they are here."""
    named = dict.fromkeys(folder for cell in cells for folder in cell.record.config_dirs)
    return [
        folder
        for folder in named
        if Path(folder).is_dir() and not (folder.startswith("-") or CONTROL.search(folder))
    ]


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


def _library_models(group: Group) -> dict[str, str]:
    """Return which choice of the group `model` stands for those that go by a library's names."""
    settings = {cell.model: cell.record.settings["model"] for cell in group.cells()}
    return {model: its["choice"] for model, its in settings.items() if "choice" in its}


def _settings(changes: Changes) -> list[str | None]:
    typed = {key: value for key, value in changes.items() if key != "data.fingerprint"}
    return [setting(key, value) for key, value in typed.items()]


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
