"""The sweeper: several grids in one sweep, planned as a whole before the first cell trains.

Hydra imports this file at every start, so it imports the rest of the project only when it sweeps.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from sslbench.sweep.engine import Engine

MOST_CELLS = 10_000
"""Of a sweep: to compose one takes a tenth of a second."""


@dataclass
class GridsSweeperConf:
    """What `hydra.sweeper` takes."""

    _target_: str = "hydra_plugins.sslbench_sweeper.grids.GridsSweeper"
    params: dict[str, Any] | None = None
    """One grid's axes: override -> values, in one string."""
    grids: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Several grids by name, each with axes of its own."""
    only: list[str] | None = None
    """Names of the grids to run; none: all."""
    dry_run: bool = False
    """Print the plan and stop."""
    retry_failed: bool = True
    retry_limit: int = 3
    """A cell that has failed so often is not tried again."""
    skip_invalid: bool = False
    """Leave out the cells that are invalid, and say why; otherwise nothing starts."""
    detach: bool = False
    """Leave when the engine has all cells, Slurm's for one; the same command collects them."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="grids", node=GridsSweeperConf, provider="sslbench"
)


class GridsSweeper(Sweeper):
    """Expands grids as Hydra's own sweeper does; the cells are up to sslbench.sweep."""

    def __init__(
        self,
        params: dict[str, Any] | None = None,
        grids: dict[str, dict[str, Any]] | None = None,
        only: list[str] | None = None,
        dry_run: bool = False,
        retry_failed: bool = True,
        retry_limit: int = 3,
        skip_invalid: bool = False,
        detach: bool = False,
    ) -> None:
        self.params = dict(params or {})
        self.grids = dict(grids or {})
        self.only = only
        self.dry_run = dry_run
        self.retry_failed = retry_failed
        self.retry_limit = retry_limit
        self.skip_invalid = skip_invalid
        self.detach = detach

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from sslbench.config.environment import refuse_environment

        refuse_environment(config.hydra.sweeper, "hydra.sweeper.")
        _require_installed(config.hydra.launcher._target_)
        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from sslbench.config.compose import refuse_chdir
        from sslbench.config.grid import GridComposer
        from sslbench.sweep.run import run_sweep

        refuse_chdir(self.config.hydra.job.chdir)
        loader = self.hydra_context.config_loader
        run_sweep(
            lambda: self.expand(arguments),
            compose=GridComposer(partial(loader.load_sweep_config, self.config)),
            engine=self.find_engine(),
            dry_run=self.dry_run,
            retry_failed=self.retry_failed,
            retry_limit=self.retry_limit,
            skip_invalid=self.skip_invalid,
            detach=self.detach,
        )
        return []

    def find_engine(self) -> "Engine":
        """Return what the launcher that is chosen stands for.

        Raises:
            ValueError: If that engine cannot take cells.
        """
        module = type(self.launcher).__module__
        if module.startswith("hydra_plugins.hydra_submitit_launcher."):
            from hydra_plugins.sslbench_sweeper._submitit import Submitit

            return Submitit(self.launcher, self.config)
        if module.startswith("hydra_plugins.hydra_ray_launcher."):
            from hydra_plugins.sslbench_sweeper._ray import Ray

            return Ray(self.launcher)
        from sslbench.sweep.engine import Here

        return Here(self.launch, self.config.hydra.launcher.get("n_jobs", 1))

    def launch(self, jobs: list[list[str]], workers: int) -> None:
        """Have jobs run on this machine, so many at a time."""
        from sslbench.machine.processes import exit_with_parent, kept_from_children

        if hasattr(self.launcher, "joblib"):
            self.launcher.joblib["n_jobs"] = workers
            if workers > 1:
                self.launcher.joblib["initializer"] = exit_with_parent
        with kept_from_children() if workers > 1 else nullcontext():
            self.launcher.launch(jobs, initial_job_idx=0)

    def expand(self, arguments: list[str]) -> list[list[str]]:
        """Expand the grids to the overrides of each cell; the command line's come last and win.

        Raises:
            ValueError: If the experiment is swept, a grid unknown, an axis a list, or the cells are
                too many.
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
        given = {argument.partition("=")[0] for argument in arguments}
        jobs: list[list[str]] = []
        for grid in [self.grids[name] for name in (self.only or self.grids)] or [{}]:
            axes = {**self.params, **grid}
            for key, value in axes.items():
                if "." not in key and isinstance(value, Sequence) and not isinstance(value, str):
                    raise ValueError(
                        f"{key}: {value}: put the values of an axis in quotes, as in "
                        'ratio: "1:1,1:7" or seed: "0,1"'
                    )
            lines = [f"{key}={value}" for key, value in axes.items() if key not in given]
            overrides = parser.parse_overrides([*lines, *arguments])
            values = [_values(override) for override in overrides]
            _require_few(len(jobs) + prod(map(len, values)), "the sweep")
            jobs += [list(job) for job in product(*values)]
        return jobs


def _require_installed(launcher: str) -> None:
    from sslbench.config.errors import missing_launcher

    package = ".".join(launcher.split(".")[:2])
    if package == "hydra_plugins.hydra_ray_launcher" and find_spec(package) is None:
        raise ValueError(missing_launcher("ray"))


def _require_few(number: int, asked: str) -> None:
    if number > MOST_CELLS:
        told = f"{number:,}" if number < 10**9 else f"{number:.0e}"
        raise ValueError(
            f"{asked}: asks for {told} cells, and at most {MOST_CELLS:,} are planned at a time; "
            "split it into several commands"
        )


def _values(override: Any) -> list[str]:
    """Return the overrides that a parsed one stands for: one for each value that it sweeps."""
    key = override.get_key_element()
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            raise ValueError(f"{override.input_line}: list the values of an axis, as in 1,2,3")
        if override.is_range_sweep():
            axis = override.value()
            _require_few(ceil((axis.stop - axis.start) / axis.step), override.input_line)
        values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        if not values:
            raise ValueError(f"{override.input_line}: there is no such value, so no cells")
        return values
    return [override.input_line]
