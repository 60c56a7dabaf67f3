"""Ray, by its launcher's function for one job: the launcher itself waits for all of them."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sslbench.sweep.crew import Crew
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight

NEEDS = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""What a cell is given, and what Ray calls it in a cluster."""


class Ray:
    """A cluster of Ray's, whose tasks end with the sweep that has started them."""

    name, poll_seconds, outlives_sweep = "Ray", 1.0, False

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._remote = OmegaConf.to_container(launcher.ray_cfg.remote, resolve=True)
        self.num_gpus = self._remote.get("num_gpus") or 0
        self._tasks: dict[str, Any] = {}
        self._workers = 1

    def find_crew(self, plan: Plan, preflight: Preflight) -> Crew:
        import ray
        from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

        try:
            start_ray(self._launcher.ray_cfg.init)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"hydra/launcher=ray: {' '.join(str(error).split())}") from None
        has = ray.cluster_resources()
        for key, resource in NEEDS.items():
            if (self._remote.get(key) or 0) > has.get(resource, 0):
                raise ValueError(
                    f"hydra.launcher.ray.remote.{key}={self._remote[key]}: the cluster has "
                    f"{has.get(resource, 0):g}; ask for as many at most, or add nodes"
                )
        needs = {it: self._remote[key] for key, it in NEEDS.items() if self._remote.get(key)}
        self._workers = int(min((has[it] // number for it, number in needs.items()), default=1))
        return Crew(self._workers, threads=max(1, int(self._remote.get("num_cpus") or 1)))

    def room(self, num_running: int, num_awaited: int) -> int | None:
        return max(0, 2 * self._workers - num_running)  # each is a config in Ray's memory

    def start(self, jobs: Sequence[list[str]], after: str | None = None) -> list[str]:
        import ray

        setup_globals()
        task = ray.remote(_run).options(**self._remote)
        load, context = self._launcher.hydra_context.config_loader, self._launcher.hydra_context
        state, folder = ray.put(Singleton.get_state()), str(Path.cwd())
        tickets = []
        for job in jobs:
            config = load.load_sweep_config(self._launcher.config, list(job))
            found = task.remote(context, config, self._launcher.task_function, state, folder)
            tickets.append(found.hex())
            self._tasks[tickets[-1]] = found
        return tickets

    def still_has(self, tickets: Collection[str]) -> set[str]:
        import ray

        pending = [self._tasks[ticket] for ticket in tickets]
        _, left = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
        has = {task.hex() for task in left}
        self._tasks = {ticket: self._tasks[ticket] for ticket in has}
        return has


def _run(
    context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    state: dict[Any, Any],
    folder: str,
) -> JobReturn:
    """Run a job as the launcher does, in the folder that the sweep was started in."""
    from hydra_plugins.hydra_ray_launcher._launcher_util import _run_job

    os.chdir(folder)
    return _run_job(context, config, task_function, state)
