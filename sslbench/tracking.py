"""Where a cell can be watched: Weights & Biases, or nowhere.

Nothing here costs a cell its result: trouble is one line in the log, nothing prompts, and each wait
is bounded. The curves on disk are the record; W&B's offline file is written every 15 s, so that a
killed process may lose that much of it. W&B's own environment variables say what the settings leave
open.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.cell.record import DONE, INTERRUPTED, Record

if TYPE_CHECKING:
    import wandb

    from sslbench.config.settings import Settings, Tracking

log = logging.getLogger(__name__)
WANDB_DEFAULTS = {
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "init_timeout": 20,
    "finish_timeout": 60,
    "finish_timeout_raises": True,
}
"""W&B's settings where its variables (WANDB_CONSOLE and so on) say nothing; times in seconds."""


class Tracker:
    """Takes points of curves, then what came of the cell, then the end; this one keeps nothing."""

    def log(self, point: dict[str, Any]) -> None:
        """Add a point; `step` is among its keys, the others are named `split/metric`."""

    def results(self, record: Record, folder: Path) -> None:
        """Add what the record says; if the cell is done, pictures and tables from its folder."""

    def finish(self, exit_code: int) -> None:
        """Close the run and say how it ended; once closed, this does nothing."""


class WandbTracker(Tracker):
    """A W&B run. At the first trouble it warns, and from then on only tries to close the run."""

    def __init__(self, run: "wandb.Run", *, checkpoints: bool = False) -> None:
        self._run, self._checkpoints = run, checkpoints
        self._in_order, self._open = True, True

    def log(self, point: dict[str, Any]) -> None:
        self._attempt(lambda: self._run.log(point))

    def results(self, record: Record, folder: Path) -> None:
        self._attempt(lambda: self._log_results(record, folder))

    def finish(self, exit_code: int) -> None:
        if self._open:
            self._open, self._in_order = False, True
            self._attempt(lambda: self._run.finish(exit_code=exit_code))

    def _attempt(self, action: Callable[[], object]) -> None:
        if not self._in_order:
            return
        try:
            action()
        except Exception as error:
            log.warning("Weights & Biases failed, going on without it: %r", error)
            self._in_order = False

    def _log_results(self, record: Record, folder: Path) -> None:
        values = summary_values(record)
        self._run.summary.update(values)
        if record.status == DONE:
            from sslbench.media import pictures_and_tables, weights_artifact

            self._run.log(pictures_and_tables(record, folder))
            if self._checkpoints:
                self._run.log_artifact(weights_artifact(record, folder, values))


def start_tracker(
    settings: "Settings", cell_id: str, folder: Path, config: dict[str, Any]
) -> Tracker:
    """Start tracking a cell under its own id, so that running it again continues the same run."""
    tracking = settings.tracking
    if tracking.name == "off":
        return Tracker()
    parts = [settings.method.name, settings.model.name]
    parts += [settings.ratio.name] if settings.uses_pool else []
    seed = f"seed {settings.seed}"
    run = start_run(
        tracking,
        folder,
        id=cell_id,
        name=" ".join([*parts, seed]),
        job_type=settings.method.name,
        tags=[*parts[1:], settings.data.name, seed],
        config=config | {"cell": cell_id},
    )
    return Tracker() if run is None else WandbTracker(run, checkpoints=tracking.checkpoints)


def start_run(
    tracking: "Tracking", folder: Path, *, name: str, job_type: str, tags: list[str], **more: Any
) -> "wandb.Run | None":
    """Start or continue a run: offline if the server does not answer, None if that fails too.

    Args:
        more: `id` and `config`, for `wandb.init`.
    """
    _prepare_process(folder)
    modes = tracking_modes(tracking.mode)
    open_to_user = {"project": "sslbench", "name": name, "job_type": job_type, "dir": folder}
    typed = {"project": tracking.project, "entity": tracking.entity, "group": tracking.group}
    for mode in modes:
        try:
            import wandb

            run = wandb.init(
                **_unless_in_environment(open_to_user)
                | {key: value for key, value in typed.items() if value is not None},
                **more,
                mode=mode,
                tags=[*tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))],
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(silent=True, **_unless_in_environment(WANDB_DEFAULTS)),
            )
            run.define_metric("step", hidden=True)
            run.define_metric("*", step_metric="step")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("Weights & Biases (%s) did not start: %s", mode, reason)
            if mode != modes[-1]:
                wandb.teardown()  # which gives the run's id free for the next attempt
        else:
            log.info("Weights & Biases: %s", place_of(run))
            return run
    return None


def place_of(run: "wandb.Run") -> str:
    """Return a run's page, or the command that uploads it."""
    return f"offline; wandb sync {Path(run.dir).parent}" if run.offline else str(run.url)


def _prepare_process(folder: Path) -> None:
    """Keep W&B from waiting, and from filling the terminal where disk or home cannot be written."""
    # Its own error reporting would wait for DNS at exit, up to 12 s without a network.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        for kind in ("CACHE", "CONFIG", "DATA"):
            os.environ.setdefault(f"WANDB_{kind}_DIR", str(folder / "wandb"))
    # It keeps log files of its own: on a full disk each line in them would print a traceback.
    logging.raiseExceptions = False


def tracking_modes(mode: str) -> list[str]:
    """Return the modes to try in turn, for `tracking.mode`; none where W&B is disabled.

    `auto` is WANDB_MODE where it is set, else online where a key is configured, else offline.
    Without a key nothing is ever online: W&B would prompt for one.
    """
    chosen = os.environ.get("WANDB_MODE") or "auto" if mode == "auto" else mode
    if chosen == "disabled":
        return []
    if chosen in ("offline", "dryrun"):
        return ["offline"]
    try:
        if has_key():
            return ["online" if chosen == "auto" else chosen, "offline"]
        problem = "no key is configured (wandb login)"
    except Exception as error:  # of any kind: W&B reads files of its own
        chosen, problem = "online", str(error)
    if chosen != "auto":
        log.warning("Weights & Biases: %s; recording offline", problem)
    return ["offline"]


def has_key() -> bool:
    """Whether W&B finds a key of its server, without asking for one and without the network.

    Raises:
        ValueError: If what it finds is no key.
    """
    import wandb

    # Unless silent it looks up whose key it is; in other modes than online it does not look.
    wandb.setup(wandb.Settings(silent=True, mode="online"))
    try:
        return wandb.login(prompt=False, verify=False)
    except wandb.errors.AuthenticationError as error:
        raise ValueError(error) from error


def _unless_in_environment(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if f"WANDB_{key.upper()}" not in os.environ}


def exit_code(record: Record) -> int:
    """Return what W&B shows a cell's end by: 0 finished, others failed, 128 + n by signal n."""
    if record.status == INTERRUPTED:
        return 128 + record.error["signal"]
    return 0 if record.status == DONE else 1


def summary_values(record: Record) -> dict[str, Any]:
    """Return what stands beside the run's name in tables: status, metrics, times."""
    values: dict[str, Any] = {"status": record.status}
    for name, result in record.results.items():
        values |= (
            {f"{name}/{metric}": value for metric, value in result.items()}
            if isinstance(result, dict)
            else {name: result}
        )
    values |= record.runtime
    if record.error is not None:
        values["error"] = f"{record.error['type']}: {record.error['message']}"
    return {key: value for key, value in values.items() if isinstance(value, int | float | str)}
