"""A callback of Hydra's, named in `conf/config.yaml`."""

from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback


class ForgetConfigs(Callback):
    """Drops the configurations of a job that has ended.

    Hydra's launchers keep them until the last one has: some 150 kB for each cell of a sweep.
    """

    def on_job_end(self, config: Any, job_return: JobReturn, **kwargs: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None
