"""From the cells that a sweep asks for to what there is to do."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sslbench.cells import RUNNING, CellFolder
from sslbench.config.identity import cell_id
from sslbench.config.settings import Settings
from sslbench.initial import names_a_method
from sslbench.preflight import Preflight
from sslbench.record import DONE, FAILED

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

    def plan(self, requests: Iterable[list[str]]) -> Plan:
        """Plan the cells that lists of overrides lead to.

        Raises:
            BadCells: If any of them is invalid; then nothing should start.
        """
        problems: dict[str, list[str]] = {}
        requests = list(requests)
        for overrides in requests:
            try:
                self._add(overrides)
            except Exception as error:  # Hydra's and OmegaConf's errors share no base class
                problems.setdefault(_reason(error), []).append(
                    " ".join(overrides).replace("\\:", ":")
                )
        if problems:
            num_bad = sum(len(jobs) for jobs in problems.values())
            lines = [f"{num_bad} of {len(requests)} cells are invalid; nothing was started:"]
            for message, jobs in problems.items():
                lines += [f"  {job}" for job in jobs]
                lines += [f"      {line}" for line in message.splitlines()]
            raise BadCells("\n".join(lines))
        return Plan(list(self._cells.values()), len(requests))

    def _add(self, overrides: list[str]) -> PlannedCell:
        settings, parent = self._compose(overrides), None
        if names_a_method(settings.init_from):
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
        """Return the cell that a child starts from: one that the sweep asks for, else a new one."""
        asked_for = [
            cell
            for cell in self._cells.values()
            if cell.settings.method.name == child.init_from  # and nothing more is said of it
            and cell.settings.init_from is None
            and (cell.settings.model, cell.settings.seed) == (child.model, child.seed)
        ]
        if len(asked_for) == 1:
            return asked_for[0]
        return self._add(parent_overrides(overrides, child.init_from))

    def _state(self, folder: CellFolder) -> str:
        state = folder.state()
        if state in (DONE, RUNNING):
            return state
        if state == FAILED:
            tried_enough = folder.record().failures >= self._retry_limit
            return FAILED if tried_enough or not self._retry_failed else TO_DO
        return TO_DO


def _reason(error: Exception) -> str:
    """Return an error's message without what Hydra adds about its own workings."""
    if isinstance(error, ValueError):
        return str(error)
    text = f"{error}\n{error.__cause__ or ''}"
    for start in ("Config search path", "    full_key:", "To append to your config"):
        text = text.partition(start)[0]
    return "\n".join(line for line in text.splitlines() if line.strip()) or repr(error)


def parent_overrides(overrides: list[str], init_from: str) -> list[str]:
    """Return the overrides of the cell to start from: the child's, but for its method's.

    >>> parent_overrides(["method=semi", "seed=1", "steps=5", "method.ema=0.9"], "barlow steps=9")
    ['seed=1', 'method=barlow', 'steps=9']
    """
    method, *others = init_from.split()
    replaced = {override.partition("=")[0] for override in others}
    kept = []
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key not in replaced and key.partition(".")[0] not in ("method", "init"):
            kept.append(override)
    return [*kept, f"method={method}", *others]


def concrete_overrides(overrides: list[str], settings: Settings) -> list[str]:
    """Add what was settled here, so that a worker need not settle it again."""
    kept = [override for override in overrides if not override.startswith("init.from=")]
    kept.append(f"data.name={settings.data.name}")
    if settings.init_from is not None:
        kept.append(f"init.from='{settings.init_from}'")
    return kept


def stages(cells: list[PlannedCell]) -> list[list[PlannedCell]]:
    """Split cells into stages: each one's parent is in an earlier stage, or not among them."""
    left, found = list(cells), []
    while left:
        waiting = {cell.cell_id for cell in left}
        ready = [cell for cell in left if cell.parent is None or cell.parent.cell_id not in waiting]
        assert ready, "cells that start from each other"
        found.append(ready)
        left = [cell for cell in left if cell not in ready]
    return found
