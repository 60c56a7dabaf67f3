"""From the cells that a sweep asks for to what there is to do."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sslbench.cell.folder import RUNNING, UNREADABLE, CellFolder
from sslbench.cell.identity import cell_id, identity
from sslbench.cell.record import DONE, FAILED
from sslbench.cell.start import names_a_method
from sslbench.config.errors import reason
from sslbench.config.settings import Settings
from sslbench.sweep.preflight import Preflight

TO_DO = "to do"


class BadCells(ValueError):
    """Some cells of a sweep cannot be trained; the message lists each of them."""


@dataclass
class PlannedCell:
    """One cell of a sweep: the overrides that lead to it, and where it stands."""

    overrides: list[str]
    settings: Settings
    folder: CellFolder
    parent: "PlannedCell | None" = None
    """The cell whose encoder it starts from."""
    state: str = TO_DO

    @property
    def cell_id(self) -> str:
        return self.folder.cell_id


@dataclass
class Plan:
    """Every cell of a sweep once, parents before their children."""

    cells: list[PlannedCell]
    num_requested: int
    """Cells asked for, duplicates counted."""

    def to_do(self) -> list[PlannedCell]:
        return [cell for cell in self.cells if cell.state == TO_DO]

    def counts(self) -> Counter[str]:
        return Counter(cell.state for cell in self.cells)


class Planner:
    """Composes and checks each requested cell before the first one trains."""

    def __init__(
        self,
        compose: Callable[[list[str]], Settings],
        preflight: Preflight,
        *,
        retry_failed: bool,
        retry_limit: int,
    ) -> None:
        self._compose = compose
        self._preflight = preflight
        self._retry_failed = retry_failed
        self._retry_limit = retry_limit
        self._cells: dict[str, PlannedCell] = {}
        self._starts: dict[str, tuple[dict[str, Any], PlannedCell]] = {}
        """Cells asked for that start from no other one, with what `_apart_from_method` says."""

    def plan(self, requests: Iterable[list[str]]) -> Plan:
        """Plan the cells that lists of overrides lead to.

        Raises:
            BadCells: If any of them is invalid; then nothing should start.
        """
        problems: dict[str, list[str]] = {}
        requests = list(requests)
        composed: list[tuple[list[str], Settings]] = []
        for overrides in requests:
            with _noted(problems, overrides):
                composed.append((overrides, self._compose(overrides)))
        # Children last, so that they find the cells to start from wherever those were asked for.
        for overrides, settings in sorted(composed, key=lambda job: _is_child(job[1])):
            with _noted(problems, overrides):
                cell = self._add(overrides, settings)
                if settings.init_from is None:
                    self._starts[cell.cell_id] = _apart_from_method(cell.settings), cell
        if problems:
            num_bad = sum(len(jobs) for jobs in problems.values())
            lines = [f"{num_bad} of {len(requests)} cells are invalid; nothing was started:"]
            for message, jobs in problems.items():
                lines += [f"  {job}" for job in jobs]
                lines += [f"      {line}" for line in message.splitlines()]
            raise BadCells("\n".join(lines))
        return Plan(list(self._cells.values()), len(requests))

    def _add(self, overrides: list[str], settings: Settings) -> PlannedCell:
        parent = None
        if _is_child(settings):
            parent = self._parent(overrides, settings)
            settings = self._preflight.make_concrete(replace(settings, init={"from": None}))
            settings = replace(settings, init={"from": parent.cell_id})
        else:
            settings = self._preflight.make_concrete(settings)
        folder = CellFolder(settings.outputs, cell_id(settings))
        if folder.cell_id not in self._cells:
            cell = PlannedCell(concrete_overrides(overrides, settings), settings, folder, parent)
            cell.state = self._state(folder)
            if cell.state == TO_DO:
                pending = parent is not None and parent.state != DONE
                self._preflight.check(
                    replace(settings, init={"from": None}) if pending else settings
                )
            self._cells[folder.cell_id] = cell
        return self._cells[folder.cell_id]

    def _parent(self, overrides: list[str], child: Settings) -> PlannedCell:
        """Return the cell that a child starts from: its own but for its method and that one's.

        Where the sweep asks for one such cell with other settings of its method, it is that one.
        """
        words = parent_overrides(overrides, child.init_from)
        try:
            settings = self._compose(words)
        except Exception as error:
            raise ValueError(
                f"init.from={child.init_from}: there is no such cell beside this one; if an "
                "experiment's file sets what only one of both methods has, set it in "
                f"hydra.sweeper.params or in init.from: {reason(error, words)}"
            ) from error
        if len(child.init_from.split()) == 1:  # nothing more is said of it
            wanted = _apart_from_method(self._preflight.make_concrete(settings))
            found = [
                cell
                for rest, cell in self._starts.values()
                if cell.settings.method.name == child.init_from and rest == wanted
            ]
            if len(found) == 1:
                return found[0]
        return self._add(words, settings)

    def _state(self, folder: CellFolder) -> str:
        state = folder.state()
        if state in (DONE, RUNNING):
            return state
        if state == UNREADABLE:
            folder.record()  # raises
        if state == FAILED:
            tried_enough = folder.record().failures >= self._retry_limit
            return FAILED if tried_enough or not self._retry_failed else TO_DO
        return TO_DO


@contextmanager
def _noted(problems: dict[str, list[str]], overrides: list[str]) -> Iterator[None]:
    """Note an error by its reason instead of raising it."""
    try:
        yield
    except Exception as error:  # Hydra's and OmegaConf's errors share no base class
        words = " ".join(overrides).replace("\\:", ":")
        problems.setdefault(reason(error, overrides), []).append(words)


def _is_child(settings: Settings) -> bool:
    return names_a_method(settings.init_from)


def _apart_from_method(settings: Settings) -> dict[str, Any]:
    """Return what tells a cell from others, but for its method and the rate that it brings."""
    contents = identity(settings)
    del contents["method"]
    if settings.optimizer.lr == settings.method.adam_lr:
        contents["optimizer"].pop("lr", None)
    return contents


def parent_overrides(overrides: list[str], init_from: str) -> list[str]:
    """Return the overrides of the cell to start from: the child's, but for its method's.

    >>> parent_overrides(["method=semi", "seed=1", "steps=5", "method.ema=0.9"], "barlow steps=9")
    ['seed=1', 'method=barlow', 'init.from=null', 'steps=9']
    """
    method, *others = init_from.split()
    replaced = {override.partition("=")[0] for override in others}
    kept = []
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key not in replaced and key.partition(".")[0] not in ("method", "init"):
            kept.append(override)
    return [*kept, f"method={method}", "init.from=null", *others]


def concrete_overrides(overrides: list[str], settings: Settings) -> list[str]:
    """Add what was settled here, so that a worker need not settle it again."""
    kept = [override for override in overrides if not override.startswith("init.from=")]
    kept.append(f"data.name={settings.data.name}")
    start = "null" if settings.init_from is None else f"'{settings.init_from}'"
    return [*kept, f"init.from={start}"]
