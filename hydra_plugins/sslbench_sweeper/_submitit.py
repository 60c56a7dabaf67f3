"""Slurm by submitit's launcher, or jobs on this machine for trying out what Slurm would run.

The launcher waits for all that it has submitted, and asks Slurm's accounting, which not every
cluster has. Here its jobs are submitted, and the queue is asked for them, which every cluster has.
"""

import os
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from sslbench.machine.threads import available_cores
from sslbench.sweep.crew import Crew
from sslbench.sweep.engine import Refused
from sslbench.sweep.plan import Plan
from sslbench.sweep.preflight import Preflight

DEFAULT_FOLDER = ".submitit/%j"
OF_ALL = (
    *("name", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes"),
    "stderr_to_stdout",
)
"""Parameters that are not Slurm's alone."""
MOST_IN_ARRAY = 1000
"""Slurm's own default for its MaxArraySize is one more."""
QUEUE_SECONDS = 60.0
"""After which a queue that does not answer is asked again."""


class Submitit:
    """Submits cells as Slurm's array jobs, or as processes."""

    def __init__(self, launcher: Launcher, config: DictConfig) -> None:
        self._launcher = launcher
        self._parameters = dict(launcher.params)
        self._cluster: str = launcher._EXECUTOR
        self._config = config
        self.outlives_sweep = self._cluster == "slurm"
        self.name = "Slurm" if self.outlives_sweep else "submitit_local"
        self.poll_seconds = 10.0 if self.outlives_sweep else 0.2
        asked = (self._parameters.get(it) for it in ("gpus_per_node", "gpus_per_task", "gres"))
        self.num_gpus = 1 if any(asked) else 0
        self._processes: dict[str, Any] = {}

    def find_crew(self, plan: Plan, preflight: Preflight) -> Crew:
        threads = self._parameters.get("cpus_per_task") or 1
        return Crew(self._parameters.get("array_parallelism") or self._most_here(), threads=threads)

    def room(self, num_running: int, num_awaited: int) -> int | None:
        return MOST_IN_ARRAY if self.outlives_sweep else max(0, self._most_here() - num_running)

    def _most_here(self) -> int:
        return max(1, available_cores() // (self._parameters.get("cpus_per_task") or 1))

    def start(self, jobs: Sequence[list[str]], after: str | None = None) -> list[str]:
        import submitit

        try:
            found = self._submit(jobs, after)
        except (submitit.core.utils.FailedJobError, RuntimeError, OSError) as error:
            raise Refused(" ".join(str(error).split())) from None
        if not self.outlives_sweep:
            self._processes |= {job.job_id: job for job in found}
        return [job.job_id for job in found]

    def _submit(self, jobs: Sequence[list[str]], after: str | None) -> list[Any]:
        import submitit

        given = dict(self._parameters)
        folder = Path(given.pop("submitit_folder"))
        if folder == Path(self._config.hydra.sweep.dir) / DEFAULT_FOLDER:
            folder = Path(self._config.outputs) / DEFAULT_FOLDER
        retries = given.pop("max_num_timeout", None)
        if after is not None:
            more = given.get("additional_parameters") or {}
            given["additional_parameters"] = more | {"dependency": f"afterany:{after}"}
        options = {} if retries is None else {f"{self._cluster}_max_num_timeout": retries}
        executor = submitit.AutoExecutor(folder, cluster=self._cluster, **options)
        executor.update_parameters(
            **{key if key in OF_ALL else f"{self._cluster}_{key}": it for key, it in given.items()}
        )
        numbers = range(len(jobs))
        state = [Singleton.get_state()] * len(jobs)
        names = [f"sslbench_{number}" for number in numbers]
        where = ["hydra.sweep.dir"] * len(jobs)
        return executor.map_array(self._launcher, jobs, where, numbers, names, state)

    def still_has(self, tickets: Collection[str]) -> set[str]:
        if not self.outlives_sweep:
            return {ticket for ticket in tickets if not self._processes[ticket].done()}
        command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
        try:
            found = subprocess.run(
                command, capture_output=True, check=True, text=True, timeout=QUEUE_SECONDS
            )
        except (OSError, subprocess.SubprocessError):
            return set(tickets)
        return set(found.stdout.split()).intersection(tickets)
