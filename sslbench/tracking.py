"""Where curves can be watched: Weights & Biases, or nowhere."""

import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sslbench.config.settings import Settings, Tracking

log = logging.getLogger(__name__)
INIT_SECONDS = 30.0


class Tracker(Protocol):
    """Takes points of curves, then a summary, then the end."""

    def log(self, point: dict[str, Any]) -> None:
        """Add a point; `step` is among its keys, the others are named `split/metric`."""
        ...

    def summarize(self, values: dict[str, Any]) -> None:
        """Set what stands beside the run's name in tables."""
        ...

    def finish(self, *, succeeded: bool) -> None:
        """Close the run and say how it ended."""
        ...


class NullTracker:
    """Tracks nothing."""

    def log(self, point: dict[str, Any]) -> None:
        pass

    def summarize(self, values: dict[str, Any]) -> None:
        pass

    def finish(self, *, succeeded: bool) -> None:
        pass


class WandbTracker:
    """One W&B run per cell; its id is the cell's, so that resuming continues the same run."""

    def __init__(
        self,
        tracking: Tracking,
        mode: str,
        *,
        cell_id: str,
        folder: Path,
        config: dict[str, Any],
        name: str,
        job_type: str,
        tags: Sequence[str],
    ) -> None:
        if mode == "offline":  # else its error reporting waits for DNS at exit, up to 12 s
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._run = wandb.init(
            mode=mode,
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group,
            job_type=job_type,
            id=cell_id,
            resume="allow",
            name=name,
            tags=list(tags),
            config=config,
            dir=folder,
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True,
                console="off",
                x_disable_stats=True,
                disable_git=True,
                save_code=False,
                init_timeout=INIT_SECONDS,
                finish_timeout=60,
            ),
        )
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def log(self, point: dict[str, Any]) -> None:
        self._run.log(point)

    def summarize(self, values: dict[str, Any]) -> None:
        self._run.summary.update(values)

    def finish(self, *, succeeded: bool) -> None:
        self._run.finish(exit_code=0 if succeeded else 1)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return server.split("//")[-1].split("/")[0] in hosts


def tracking_mode(tracking: Tracking) -> str:
    """Turn `auto` into `online` where a key is configured, else `offline`; WANDB_MODE wins."""
    if tracking.mode != "auto":
        return tracking.mode
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def start_tracker(
    settings: Settings, cell_id: str, folder: Path, config: dict[str, Any]
) -> Tracker:
    """Start tracking a cell. Trouble with the tracker is a warning, never the cell's failure."""
    tracking = settings.tracking
    if tracking.name == "off":
        return NullTracker()
    parts = [settings.method.name, settings.model.name, settings.ratio.name]
    if settings.method.name == "supervised":
        parts.pop()
    mode = tracking_mode(tracking)
    try:
        return WandbTracker(
            tracking,
            mode,
            cell_id=cell_id,
            folder=folder,
            config=config | {"cell": cell_id},
            name=" ".join([*parts, f"seed {settings.seed}"]),
            job_type=settings.method.name,
            tags=[*parts[1:], settings.data.name, f"seed {settings.seed}"],
        )
    except Exception as error:
        log.warning("Weights & Biases (%s) did not start, going on without it: %s", mode, error)
        return NullTracker()
