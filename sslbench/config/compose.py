"""Where conf/ lies, what Hydra must know before it composes, and from its config to settings."""

import copy
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from sslbench.config import ratio, settings
from sslbench.config.errors import REFUSALS, reason, unknown_key
from sslbench.config.settings import Settings
from sslbench.exit_codes import CellStopped, UsageError
from sslbench.processes import available_cores

Config = DictConfig

SCHEMAS = {
    "model": {
        "convnet": settings.ConvNet,
        "resnet18": settings.ResNet18,
        "wide_resnet": settings.WideResNet,
    },
    "method": {
        "supervised": settings.Supervised,
        "barlow": settings.BarlowTwins,
        "semi": settings.Semi,
    },
}


def conf_dir() -> str:
    """Return the folder of the config tree: SSLBENCH_CONF, a checkout's conf/ or the wheel's."""
    if os.environ.get("SSLBENCH_CONF"):
        return str(Path(os.environ["SSLBENCH_CONF"]).resolve())
    package = Path(__file__).resolve().parent.parent
    for candidate in (package.parent / "conf", package / "conf"):
        if (candidate / "config.yaml").is_file():
            return str(candidate)
    raise FileNotFoundError("no conf/ next to the package or in it; set SSLBENCH_CONF")


ALL_CORES = -1
"""joblib's default for `hydra.launcher.n_jobs`."""


def num_workers(n_jobs: int) -> int:
    """Return how many cells run at a time: as asked for, else one per GPU, or per core."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return (gpus or available_cores()) if n_jobs == ALL_CORES else n_jobs


@cache
def register() -> None:
    """Register schemas and the ratio source; each process that composes needs it once."""
    store = ConfigStore.instance()
    # The one store there is, only read while composing: Hydra would copy all its nodes with every
    # list of a group's choices, a hundred times for --help, and several times for each cell.
    ConfigStore.__deepcopy__ = lambda self, memo: self
    store.store(name="schema", node=Settings)
    for group, schemas in SCHEMAS.items():
        for name, node in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=node)
    ratio.register()


def hydra_main(task: Callable[[Config], Any]) -> Callable[[], None]:
    """Decorate `task` as `@hydra.main`; what Hydra itself refuses is bad usage, in few words."""
    register()
    options = {"config_path": conf_dir(), "config_name": "config"}
    if tuple(int(part) for part in hydra.__version__.split(".")[:2]) < (1, 4):
        options["version_base"] = "1.3"  # 1.4 deprecates it
    decorated = hydra.main(**options)(task)

    def main() -> None:
        wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
        # So Hydra raises its errors; it would print them and exit with 1, which failed cells have.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            decorated()
        except KeyboardInterrupt:
            raise CellStopped(128 + signal.SIGINT) from None
        except REFUSALS as error:
            if wants_traceback:
                raise
            raise UsageError(reason(error, sys.argv[1:])) from None
        except SystemExit as leaving:
            # Ours are subclasses, so a plain one is Hydra's.
            if type(leaving) is SystemExit and leaving.code == 1:
                sys.exit(2)
            raise

    return main


@dataclass(frozen=True)
class JobContext:
    """How Hydra runs this job."""

    in_sweep: bool
    choices: Mapping[str, Any]
    """Of each config group."""
    is_grid: bool
    """Whether the config describes a sweep of cells, rather than one."""
    workers: int
    """Cells that run at the same time."""
    sweep_options: list[str]
    """Overrides that only a sweep heeds."""


def job_context() -> JobContext:
    """Return how Hydra runs the job that calls this."""
    config = HydraConfig.get()
    return JobContext(
        in_sweep=config.mode == RunMode.MULTIRUN,
        choices=config.runtime.choices,
        is_grid=bool(config.sweeper.get("params") or config.sweeper.get("grids")),
        workers=num_workers(config.launcher.get("n_jobs", 1)),
        sweep_options=[
            override
            for override in config.overrides.hydra
            if override.startswith(("hydra.sweeper.", "hydra/launcher=", "hydra.launcher."))
        ],
    )


def _refuse_unknown_keys(node: DictConfig, path: str = "") -> None:
    """`+key=` gets past Hydra's check even with a schema: find such keys."""
    kind = OmegaConf.get_type(node)
    if not is_dataclass(kind):
        return
    names = [field.name for field in fields(kind)]
    for key in node:
        if key not in names:
            raise ValueError(unknown_key(node, f"{path}{key}"))
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _refuse_unknown_keys(child, f"{path}{key}.")


def to_settings(config: Config, choices: Mapping[str, Any] | None = None) -> Settings:
    """Turn a composed config into settings.

    Args:
        choices: Of each config group; those that `config.hydra` has, where it is there.

    Raises:
        ValueError: If a key is unknown, a value missing or out of its range, or a name not its own.
    """
    if "hydra" in config:
        choices = config.hydra.runtime.choices
        config = copy.deepcopy(config)
        with flag_override(config, ["struct", "readonly"], [False, False]):
            del config["hydra"]
    _refuse_unknown_keys(config)
    try:
        found = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from error
    _refuse_false_names(found, choices or {})
    return found


def _refuse_false_names(found: Settings, choices: Mapping[str, Any]) -> None:
    """Tables show these names. Those of other groups say what is done, or follow from numbers."""
    for group in ("model", "method", "augmentation"):
        name = getattr(found, group).name
        chosen = str(choices.get(group, name)).rpartition("/")[2]
        if name != chosen:
            raise ValueError(
                f"{group}.name={name} with {group}={chosen}: use {group}={name} or name it {chosen}"
            )
