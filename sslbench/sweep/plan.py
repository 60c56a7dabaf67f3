"""From the cells that a sweep asks for to what there is to do."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache, partial
from typing import Any

from sslbench.cell.cell import Cell
from sslbench.cell.changes import find_changes
from sslbench.cell.folder import RUNNING, WAITING
from sslbench.cell.identity import identity
from sslbench.cell.record import DONE, FAILED
from sslbench.cell.soundness import DAMAGED, STALE, is_to_do, state_of
from sslbench.cell.start import names_a_method
from sslbench.cell.versions import is_of_other_code
from sslbench.config.errors import reason
from sslbench.config.settings import Settings
from sslbench.sweep.preflight import Preflight
from sslbench.words.trouble import find_trouble

TO_DO = "to do"
NUM_LISTED = 5
"""Invalid cells of one kind."""
Compose = Callable[[list[str]], tuple[Settings, Mapping[str, Any]]]
"""From overrides to settings and the choices of the config groups."""


@dataclass(eq=False)
class Job:
    """One cell of a sweep: the overrides that led to it, and where it stands."""

    cell: Cell
    overrides: list[str]
    parent: "Job | None" = None
    """The one whose encoder it starts from."""
    state: str = TO_DO


@dataclass
class Plan:
    """Every cell of a sweep once, parents before their children."""

    jobs: list[Job]
    num_requested: int
    """Cells asked for, duplicates counted."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why cells are invalid -> the overrides of each of them."""

    def to_do(self) -> list[Job]:
        return [job for job in self.jobs if job.state == TO_DO]

    def counts(self) -> Counter[str]:
        return Counter(job.state for job in self.jobs)


@dataclass
class Planner:
    """Composes and checks each requested cell before the first one trains."""

    compose: Compose
    preflight: Preflight
    _: KW_ONLY
    retry_failed: bool
    retry_limit: int
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        # What stands in several grids is composed once: it takes a tenth of a second each.
        self._compose = cache(lambda *overrides: self.compose(list(overrides)))
        self._jobs: dict[str, Job] = {}
        self._starts: dict[tuple[str, str], dict[str, Job]] = {}
        """Cells that were asked for and start from no other, by what `_as_a_start` says of them."""

    def plan(self, requests: Iterable[list[str]]) -> Plan:
        """Plan the cells that lists of overrides lead to.

        Raises:
            ValueError: If any of them is invalid, or all are and those were to be left out; the
                message lists them.
        """
        problems: dict[str, list[str]] = {}
        requests = list(requests)
        composed, planned = [], []
        for overrides in requests:
            with _noted(problems, overrides):
                composed.append((overrides, *self._compose(*overrides)))
        # Children last, so that they find the cells to start from wherever those were asked for.
        for overrides, settings, choices in sorted(composed, key=lambda it: _is_child(it[1])):
            with _noted(problems, overrides):
                job = self._add(overrides, settings, choices)
                planned.append(job)
                if settings.init_from is None:
                    alike = self._starts.setdefault(_as_a_start(job.cell.settings), {})
                    alike[job.cell.id] = job
        if problems and not (self.skip_invalid and planned):
            num_bad = sum(len(jobs) for jobs in problems.values())
            title = f"{num_bad} of {len(requests)} cells are invalid; nothing was started:"
            way_out = ["hydra.sweeper.skip_invalid=true leaves them out"] if planned else []
            raise ValueError("\n".join([title, *listing(problems), *way_out]))
        wanted = {each.cell.id for job in planned for each in _with_parents(job)}
        jobs = [job for name, job in self._jobs.items() if name in wanted]
        return Plan(jobs, len(requests), problems)

    def _add(self, overrides: list[str], settings: Settings, choices: Mapping[str, Any]) -> Job:
        parent = None
        if settings.cell is not None:
            raise ValueError(f"cell={settings.cell}: is for one cell alone: leave -m out")
        if _is_child(settings):
            parent = self._parent(overrides, settings)
            settings = self.preflight.make_concrete(replace(settings, init={"from": None}))
            settings = replace(settings, init={"from": parent.cell.id})
        else:
            settings = self.preflight.make_concrete(settings)
        cell = Cell(settings, partial(find_changes, settings, choices))
        if cell.id not in self._jobs:
            job = Job(cell, overrides, parent, self._state(cell))
            if job.state in (TO_DO, WAITING):
                pending = parent is not None and parent.state != DONE
                self.preflight.check(
                    replace(settings, init={"from": None}) if pending else settings
                )
            self._jobs[cell.id] = job
        return self._jobs[cell.id]

    def _parent(self, overrides: list[str], child: Settings) -> Job:
        """Return the cell that a child starts from: its own but for its method and that one's.

        Where the sweep asks for one such cell with other settings of its method, it is that one.
        """
        words = parent_overrides(overrides, child.init_from)
        try:
            settings, choices = self._compose(*words)
        except Exception as error:
            raise ValueError(
                f"init.from={child.init_from}: there is no such cell beside this one; if an "
                "experiment's file sets what only one of both methods has, set it in "
                f"hydra.sweeper.params or in init.from\n{reason(error, words)}"
            ) from error
        if len(child.init_from.split()) == 1:  # nothing more is said of it
            wanted = _as_a_start(self.preflight.make_concrete(settings))
            found = self._starts.get(wanted, {})
            if len(found) == 1:
                return next(iter(found.values()))
        return self._add(words, settings, choices)

    def _state(self, cell: Cell) -> str:
        state, _ = state_of(cell)
        if state in (DONE, RUNNING, WAITING):
            return state
        if state in (DAMAGED, STALE):
            return TO_DO if is_to_do(state, cell.settings.resume) else state
        if state == FAILED:
            record = cell.folder.record()
            tried_enough = record.failures >= self.retry_limit and not is_of_other_code(record)
            return FAILED if tried_enough or not self.retry_failed else TO_DO
        return TO_DO


def listing(problems: Mapping[str, list[str]]) -> list[str]:
    """List invalid cells by what is wrong with them, in lines; the first few of many alike."""
    lines = []
    shown = max(1, NUM_LISTED // max(1, len(problems)))
    for message, jobs in problems.items():
        lines += [f"  {job}" for job in jobs[:shown]]
        if len(jobs) > shown:
            lines.append(f"  and {len(jobs) - shown} more")
        lines += [f"      {line}" for line in message.splitlines()]
    return lines


def _with_parents(job: Job | None) -> Iterator[Job]:
    while job is not None:
        yield job
        job = job.parent


@contextmanager
def _noted(problems: dict[str, list[str]], overrides: list[str]) -> Iterator[None]:
    """Note an error by its reason instead of raising it."""
    try:
        yield
    except Exception as error:  # Hydra's and OmegaConf's errors share no base class
        if find_trouble(error) is not None:
            raise
        words = " ".join(overrides).replace("\\:", ":")
        problems.setdefault(reason(error, overrides), []).append(words)


def _is_child(settings: Settings) -> bool:
    return names_a_method(settings.init_from)


def _as_a_start(settings: Settings) -> tuple[str, str]:
    """Return a cell's method, and what tells it from others but for that and what that brings."""
    contents = identity(settings)
    for brought in ("method", "augmentation"):
        del contents[brought]
    if settings.optimizer.lr == settings.method.adam_lr:
        contents["optimizer"].pop("lr", None)
    return settings.method.name, json.dumps(contents, sort_keys=True)


def parent_overrides(overrides: list[str], init_from: str) -> list[str]:
    """Return the overrides of the cell to start from: the child's, but for its method's and preset.

    >>> parent_overrides(["method=semi", "seed=1", "steps=5", "method.ema=0.9"], "barlow steps=9")
    ['seed=1', 'method=barlow', 'init.from=null', 'steps=9']
    """
    method, *others = init_from.split()
    replaced = {override.partition("=")[0] for override in others}
    kept = []
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key not in replaced and key.partition(".")[0] not in ("method", "init", "preset"):
            kept.append(override)
    return [*kept, f"method={method}", "init.from=null", *others]
