"""Training what a plan has to do: parents first, lost cells again, others' cells waited for."""

import time
from collections import Counter
from contextlib import suppress

from sslbench.cell.folder import RUNNING, UNREADABLE, WAITING, Busy
from sslbench.cell.record import BLOCKED, DONE, FAILED, RECORD
from sslbench.cell.soundness import state_of
from sslbench.machine.processes import handled
from sslbench.sweep.engine import Engine, Refused
from sslbench.sweep.isolated import RETRIES
from sslbench.sweep.live import live_overview
from sslbench.sweep.parent import block
from sslbench.sweep.plan import TO_DO, Job, Plan
from sslbench.sweep.present import outcome
from sslbench.sweep.stop import Stop
from sslbench.sweep.training import is_done

POLL_SECONDS = 1.0
REFUSED_SECONDS = 60.0
"""After which an engine that takes no more cells for now is asked again."""


class Loop:
    """The cells of a plan that are not done: to start, in the engine's hands, or in others'."""

    def __init__(self, plan: Plan, engine: Engine, *, in_workers: bool) -> None:
        self._engine = engine
        self._plan = plan
        self._stop = Stop(plan, in_workers)
        self._parents = {job.parent for job in plan.jobs}
        # Cells that others wait for go first.
        first = sorted(plan.to_do(), key=lambda job: job not in self._parents)
        self._to_start = dict.fromkeys(first)
        self._given = {job: _ticket(job, engine) for job in plan.jobs if job.state == WAITING}
        self._elsewhere = [job for job in plan.jobs if job.state == RUNNING]
        self._announced = False
        self._refused_at: float | None = None
        self._losses: Counter[Job] = Counter()
        watched = [*self._to_start, *self._given, *self._elsewhere]
        self._before = {job: _written(job) for job in watched}

    def train(self) -> None:
        """Return when no cell is left that this sweep could train or wait for.

        Raises:
            Refused: If the engine takes none, and has none.
        """
        with handled(self._stop), live_overview(self._plan):
            while self._to_start or self._given or self._elsewhere:
                started = self._start()
                ended = self._collect()
                if not (started or ended):
                    self._wait()

    def hand_over(self) -> list[Job]:
        """Give the engine all that it takes, children to be started when their parents have ended.

        Returns:
            The jobs that it was not given: their parents are in others' hands, or it took no more.
        """
        while ready := self._free(None, after_parents=True):
            by_parent: dict[Job | None, list[Job]] = {}
            for job in ready:
                parent = job.parent if job.parent in self._given else None
                by_parent.setdefault(parent, []).append(job)
            try:
                for parent, jobs in by_parent.items():
                    for first in range(0, len(jobs), most := self._engine.room(0, 0) or len(jobs)):
                        self._give(jobs[first : first + most], self._given.get(parent))
            except Refused as refused:
                if not self._given:
                    raise
                print(f"{self._engine.name} takes no more: {refused}", flush=True)
                break
        return [*self._to_start]

    def _free(self, room: int | None, *, after_parents: bool = False) -> list[Job]:
        """Return jobs that nothing holds up, so many at most: the parents of others are read."""
        handed = self._given if after_parents else {}
        pending = {*self._to_start, *self._elsewhere, *self._given} - handed.keys()
        free, blocked = [], []
        for job in self._to_start:
            if len(free) == room:
                break
            if job.parent not in pending:
                is_blocked = job.parent not in handed and _blocked(job)
                (blocked if is_blocked else free).append(job)
        self._drop(blocked)
        return free

    def _start(self) -> bool:
        """Give the engine what is free and what it has room for; whether it took anything."""
        is_early = self._refused_at is not None and (
            time.monotonic() - self._refused_at < REFUSED_SECONDS
        )
        num_awaited = sum(job in self._parents for job in self._to_start)
        room = 0 if is_early else self._engine.room(len(self._given), num_awaited)
        ready = self._free(room)
        if not ready:
            return False
        try:
            self._give(ready)
        except Refused as refused:
            if not self._given:
                raise
            if self._refused_at is None:
                print(f"{self._engine.name} takes no more for now: {refused}", flush=True)
            self._refused_at = time.monotonic()
            return False
        self._refused_at = None
        return True

    def _give(self, jobs: list[Job], after: str | None = None) -> None:
        for job in jobs:
            with suppress(Busy), job.cell.folder.locked():  # who has it has written it
                if state_of(job.cell, is_mine=True)[0] != DONE:
                    job.cell.save_request()
                    job.cell.folder.drop_ticket()
                    if self._engine.outlives_sweep:
                        job.cell.folder.note_ticket(self._engine.name)
        with self._stop.of_running():
            tickets = self._engine.start([_overrides(job) for job in jobs], after)
            for job, ticket in zip(jobs, tickets, strict=True):
                if self._engine.outlives_sweep:
                    job.cell.folder.note_ticket(self._engine.name, ticket)
                self._given[job] = ticket
        # None has a ticket where a worker, told to stop, has ended the launcher.
        self._given |= {job: "" for job in jobs if job not in self._given}
        self._drop(jobs)

    def _start_first(self, jobs: list[Job]) -> None:
        """Start jobs once more, before others: cells may wait for them."""
        self._to_start = dict.fromkeys([*jobs, *self._to_start])

    def _drop(self, jobs: list[Job]) -> None:
        for job in jobs:
            del self._to_start[job]

    def _collect(self) -> bool:
        """Look at the cells that are out of the engine's hands; whether there were any."""
        has = self._engine.still_has(self._given.values()) if self._given else set()
        back = [job for job, ticket in self._given.items() if ticket not in has]
        for job in back:
            del self._given[job]
        held = [job for job in back if job.cell.folder.state() == RUNNING]
        self._elsewhere += held
        lost = [job for job in back if job not in held and not self._has_ended(job)]
        if lost and len(lost) == len(back):
            self._losses.update(lost)
        elif back:
            self._losses.clear()
        again = [job for job in lost if self._losses[job] <= RETRIES]
        for job in again:
            print(f"{job.cell.id}: has lost its process; started again", flush=True)
        self._start_first(again)
        return bool(back)

    def _wait(self) -> None:
        """Wait a moment, and look at other sweeps' cells."""
        if self._elsewhere and not self._given and not self._announced:
            print(f"waiting for {len(self._elsewhere)} of another sweep's cells", flush=True)
            self._announced = True
        time.sleep(self._engine.poll_seconds if self._given else POLL_SECONDS)
        watched, self._elsewhere, left = self._elsewhere, [], []
        for job in watched:
            if job.cell.folder.state() == RUNNING:
                self._elsewhere.append(job)
            elif not self._has_ended(job):
                left.append(job)
        self._start_first(left)

    def _has_ended(self, job: Job) -> bool:
        """Whether a cell has come to an end that this sweep has to accept, since it began."""
        if job.cell.folder.state() == UNREADABLE:
            return True
        record = job.cell.folder.readable_record()
        if record is None or is_done(record):
            return record is not None
        return record.status in (FAILED, BLOCKED) and _written(job) != self._before[job]


def adopt(plan: Plan, engine: Engine) -> None:
    """Find out which of the cells that wait in a queue are in this engine's: others are to do."""
    waiting = [job for job in plan.jobs if job.state == WAITING]
    known = {ticket for job in waiting if (ticket := _ticket(job, engine))}
    has = engine.still_has(known) if known else set()
    for job in waiting:
        if _ticket(job, engine) not in has:
            is_over = is_done(job.cell.folder.readable_record())  # since it was planned
            job.state = DONE if is_over else TO_DO


def _ticket(job: Job, engine: Engine) -> str:
    return job.cell.folder.ticket(engine.name) or ""


def _written(job: Job) -> int | None:
    """Return when a cell's record was written; None if there is none."""
    try:
        return (job.cell.folder.path / RECORD).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _blocked(job: Job) -> bool:
    """Record a cell as blocked, and say so, if the one that it starts from did not finish."""
    if job.parent is None or not block(job.cell):
        return False
    print(outcome(job), flush=True)
    return True


def _overrides(job: Job) -> list[str]:
    """Return what a worker composes to load a cell that is planned."""
    outputs = job.cell.settings.outputs.replace("\\", "\\\\").replace("'", "\\'")
    return [f"cell={job.cell.id}", f"outputs='{outputs}'"]
