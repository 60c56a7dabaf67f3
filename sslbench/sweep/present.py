"""What a person reads about a sweep: its plan, and what failed."""

from sslbench.cell.folder import RUNNING, WAITING
from sslbench.cell.record import DONE, FAILED
from sslbench.cell.soundness import DAMAGED, STALE, WAYS_OUT, ignored, state_of
from sslbench.cell.versions import is_of_other_code
from sslbench.sweep.crew import Crew
from sslbench.sweep.estimate import Cost
from sslbench.sweep.plan import Job, Plan, listing
from sslbench.words.redact import redacted
from sslbench.words.wording import fold

GIB = 2**30
IN_ID = ("model", "method", "ratio", "seed", "data", "data.name", "experiment")
"""Overrides that a cell's id tells already, or that are alike in a sweep."""


def duration(seconds: float) -> str:
    """Write seconds as a person would: `42 s`, `12 min`, `3.5 h`, `2.1 d`."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def headline(plan: Plan) -> str:
    """Count the cells of a plan by their states, and those that other code has trained."""
    counts = plan.counts()
    parts = [f"{number} {state}" for state, number in sorted(counts.items())]
    duplicates = plan.num_requested - len(plan.jobs) - sum(map(len, plan.left_out.values()))
    if duplicates > 0:
        parts.append(f"{duplicates} asked for twice")
    line = f"{len(plan.jobs)} cells: " + ", ".join(parts)
    if plan.left_out:
        num_out = sum(map(len, plan.left_out.values()))
        title = f"{num_out} invalid cells are left out:"
        line += "\n".join(["", title, *listing(plan.left_out)])
    done = [job.cell.folder for job in plan.jobs if job.state == DONE]
    older = [folder for folder in done if is_of_other_code(folder.record())]
    if older:
        line += f"\n{len(older)} of those done were trained by other code than this, such as "
        line += f"{older[0].path}: delete their folders to train them anew"
    if names := _ignored(plan):
        line += f"\nnot as those done were trained, and ignored: {', '.join(names)}"
    return line


def _ignored(plan: Plan) -> list[str]:
    done = [job for job in plan.jobs if job.state == DONE]
    found = (ignored(job.cell.folder.record(), job.cell.settings, job.overrides) for job in done)
    return sorted({name for names in found for name in names})


def distinctions(plan: Plan) -> dict[str, str]:
    """Return by cell the overrides that not all cells have and that its id does not tell."""
    common = set.intersection(*(set(job.overrides) for job in plan.jobs))
    return {
        job.cell.id: " ".join(
            redacted(override)
            for override in job.overrides
            if override not in common
            and override.partition("=")[0] not in IN_ID
            and override != "init.from=null"
        )
        for job in plan.jobs
    }


def plan_table(plan: Plan, costs: dict[str, Cost | str], crew: Crew) -> str:
    """List every cell with its state and cost or why that is not known, and the total time."""
    width = max(len(job.cell.id) for job in plan.jobs)
    settings = distinctions(plan)
    lines = [headline(plan), f"{'cell':{width}}  state    time      memory    from     settings"]
    for job in plan.jobs:
        cost = costs.get(job.cell.id)
        told = f"{'':27}"
        if isinstance(cost, Cost):
            memory = f"{cost.memory_bytes / GIB:.1f} GiB"
            told = f"{duration(cost.seconds):8}  {memory:8}  {cost.source:7}"
        line = f"{job.cell.id:{width}}  {job.state:7}  {told}  {settings[job.cell.id]}"
        lines.append(line.rstrip())
    known = [cost for cost in costs.values() if isinstance(cost, Cost)]
    if known:
        total = sum(cost.seconds for cost in known)
        peak = max(cost.memory_bytes for cost in known) / GIB
        lines.append(
            f"to do: {duration(total)} one after the other, at most {peak:.1f} GiB at a time"
        )
        if crew.workers > 1:
            lines.append(f"with {crew.workers} workers: about {duration(total / crew.speedup)}")
    lines += [f"not estimated: {it}: {why}" for it, why in costs.items() if isinstance(why, str)]
    data = [job.cell.settings.data for job in plan.jobs]
    for root in sorted({each.root for each in data if each.would_download()}):
        lines += [f"STL-10 is not in {root}: the sweep would download it first (2.6 GB)"]
    return "\n".join(lines)


def outcome(job: Job) -> str:
    """Say in a line or two how a cell of a sweep ended."""
    cell = job.cell
    state, flaws = state_of(cell)
    if flaws:
        return "\n      ".join([f"{cell.id}: {state}", *flaws, WAYS_OUT[state]])
    record = cell.folder.record()
    if record is None:
        return f"{cell.id}: {state if state in (RUNNING, WAITING) else 'not run'}"
    if record.status == DONE:
        val, test = (record.results[split]["accuracy"] for split in ("val", "test"))
        return f"{cell.id}: val {val:.2%}, test {test:.2%}"
    cause = f"{record.error['type']}: {record.error['message']}" if record.error else ""
    line = fold(f"{cell.id}: {record.status}, {cause}")
    return f"{line}\n      log: {cell.folder.log_path}" if record.status == FAILED else line


def exit_report(plan: Plan) -> str | None:
    """List what did not finish and why; None if all cells are done."""
    unfinished = [job for job in plan.jobs if state_of(job.cell)[0] != DONE]
    if not unfinished:
        return None
    settings = distinctions(plan)
    lines = [f"{len(unfinished)} of {len(plan.jobs)} cells are not done:"]
    for job in unfinished:
        told = settings[job.cell.id]
        lines += [f"  {outcome(job)}", *[f"      settings: {told}"] * bool(told)]
    left = [job for job in unfinished if job.state == FAILED]
    if any(job.state not in (FAILED, DAMAGED, STALE) for job in unfinished):
        lines.append("the same command goes on with them; the others are kept")
    if left:
        limit = 1 + max(job.cell.folder.record().failures for job in left)
        lines.append(
            f"{len(left)} were not tried again: hydra.sweeper.retry_failed=true "
            f"hydra.sweeper.retry_limit={limit} tries them"
        )
    return "\n".join(lines)
