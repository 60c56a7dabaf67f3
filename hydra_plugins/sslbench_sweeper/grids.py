"""The sweeper: several grids in one sweep, planned as a whole before the first cell trains.

Hydra imports this file at every start, so it imports the rest of the project only when it sweeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser


@dataclass
class GridsSweeperConf:
    """What `hydra.sweeper` takes."""

    _target_: str = "hydra_plugins.sslbench_sweeper.grids.GridsSweeper"
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None
    """One grid's axes: override -> values, in one string."""
    grids: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Several grids by name, each with axes of its own."""
    only: list[str] | None = None
    """Names of the grids to run; none: all."""
    dry_run: bool = False
    """Print the plan and stop."""
    probe: bool = True
    """Whether a dry run measures what no record tells: a few steps of each kind of cell."""
    retry_failed: bool = True
    retry_limit: int = 3
    """A cell that has failed so often is not tried again."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="grids", node=GridsSweeperConf, provider="sslbench"
)


class GridsSweeper(BasicSweeper):
    """Expands grids as Hydra's sweeper does; what happens to the cells is up to sslbench.sweep."""

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, Any] | None = None,
        grids: dict[str, dict[str, Any]] | None = None,
        only: list[str] | None = None,
        dry_run: bool = False,
        probe: bool = True,
        retry_failed: bool = True,
        retry_limit: int = 3,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.grids = dict(grids or {})
        self.only = only
        self.dry_run = dry_run
        self.probe = probe
        self.retry_failed = retry_failed
        self.retry_limit = retry_limit

    def sweep(self, arguments: list[str]) -> Any:
        from sslbench.config.compose import num_workers, to_settings
        from sslbench.sweep.run import SweepOptions, run_sweep

        loader = self.hydra_context.config_loader
        workers = num_workers(self.config.hydra.launcher.get("n_jobs", 1))
        if hasattr(self.launcher, "joblib"):
            self.launcher.joblib["n_jobs"] = workers
        run_sweep(
            lambda: self._requests(arguments),
            compose=lambda job: to_settings(loader.load_sweep_config(self.config, list(job))),
            launch=lambda jobs: self.launcher.launch(jobs, initial_job_idx=0),
            options=SweepOptions(
                workers=workers,
                dry_run=self.dry_run,
                probe=self.probe,
                retry_failed=self.retry_failed,
                retry_limit=self.retry_limit,
            ),
        )
        return []

    def _requests(self, arguments: list[str]) -> list[list[str]]:
        """Expand the grids to the overrides of each cell; the command line's come last and win.

        Raises:
            ValueError: If the experiment is swept, a grid unknown, or an axis a list.
        """
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        for override in parser.parse_overrides(list(arguments)):
            if override.key_or_group == "experiment" and override.is_sweep_override():
                raise ValueError(
                    f"{override.input_line}: an experiment cannot be swept, as each has grids of "
                    "its own; use experiment=paper for all of them, or one command for each"
                )
        unknown = [name for name in self.only or [] if name not in self.grids]
        if unknown:
            raise ValueError(f"hydra.sweeper.only={unknown}: known grids are {list(self.grids)}")
        axes = [self.grids[name] for name in (self.only or self.grids)] or [{}]
        jobs: list[list[str]] = []
        for grid in axes:
            overrides = {**self.params, **grid}
            for key, value in overrides.items():
                if "." not in key and isinstance(value, Sequence) and not isinstance(value, str):
                    raise ValueError(
                        f"{key}: {value}: put the values of an axis in quotes, as in "
                        'ratio: "1:1,1:7" or seed: "0,1"'
                    )
            given = {argument.partition("=")[0] for argument in arguments}
            lines = [f"{key}={value}" for key, value in overrides.items() if key not in given]
            parsed = parser.parse_overrides([*lines, *arguments])
            jobs += self.split_arguments(parsed, max_batch_size=None)[0]
        return jobs
