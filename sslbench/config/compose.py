"""Where conf/ lies, what Hydra must know before it composes, and from its config to settings."""

import copy
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from sslbench.config.arguments import GROUPS, as_hydra_reads_it, one_choice, typed_config_dirs
from sslbench.config.classes import ClassSource
from sslbench.config.environment import refuse_environment, watch_environment
from sslbench.config.errors import (
    REFUSALS,
    reason,
    refused_by_hydra,
    unknown_key,
)
from sslbench.config.ratio import RatioSource
from sslbench.config.settings import Settings
from sslbench.exit_codes import CellStopped, NotDone, UsageError
from sslbench.words.trouble import WITH_TRACEBACK, report_failure, wants_traceback

Config = DictConfig
PLUGINS = "sslbench.plugins"
"""Entry points of installed packages with parts; each names a package that holds a `conf/`."""
# Hydra 1.4 deprecates what 1.3 wants.
VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def conf_dir() -> str:
    """Return the folder of the config tree: SSLBENCH_CONF, a checkout's conf/ or the wheel's."""
    if os.environ.get("SSLBENCH_CONF"):
        return str(Path(os.environ["SSLBENCH_CONF"]).resolve())
    package = Path(__file__).resolve().parent.parent
    for candidate in (package.parent / "conf", package / "conf"):
        if (candidate / "config.yaml").is_file():
            return str(candidate)
    raise FileNotFoundError("no conf/ next to the package or in it; set SSLBENCH_CONF")


class SearchPath(SearchPathPlugin):
    """Adds ratios, classes and installed plugins' config trees to where Hydra looks."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("sslbench", "ratio://")
        search_path.append("sslbench", "class://")
        for plugin in entry_points(group=PLUGINS):
            spec = find_spec(plugin.module)
            if spec is not None and spec.origin is not None:
                search_path.append(plugin.name, f"file://{Path(spec.origin).parent / 'conf'}")
        # Hydra adds it too, but has forgotten it where an error's message looks at other choices.
        for folder in typed_config_dirs():
            search_path.append("command-line", f"file://{Path(folder).resolve()}")


@cache
def register() -> None:
    """Register the schema and the sources; each process that composes needs it once."""
    ConfigStore.instance().store(name="schema", node=Settings)
    for plugin in (RatioSource, ClassSource, SearchPath):
        Plugins.instance().register(plugin)
    watch_environment()
    # Our choice of this name keeps the launcher's, which is its schema: Hydra would tell each time.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against")


def hydra_main(task: Callable[[Config], Any]) -> Callable[[], None]:
    """Decorate `task` as `@hydra.main`; what Hydra itself refuses is bad usage, in few words."""
    register()
    decorated = hydra.main(config_path=conf_dir(), config_name="config", **VERSION_BASE)(task)

    def main() -> None:
        os.environ[WITH_TRACEBACK] = os.environ.get("HYDRA_FULL_ERROR", "0")
        # So Hydra raises its errors; it would print them and exit with 1, which failed cells have.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            with as_hydra_reads_it():
                decorated()
        except KeyboardInterrupt:
            raise CellStopped(128 + signal.SIGINT) from None
        except REFUSALS as error:
            if wants_traceback():
                raise
            with initialize_config_dir(conf_dir(), **VERSION_BASE):  # to look at other choices
                message = reason(error, sys.argv[1:])
            raise UsageError(message) from None
        except NotDone as error:
            print(f"sslbench: {error}", file=sys.stderr)
            raise CellStopped(1) from None
        except Exception as error:
            if refused := refused_by_hydra(error, sys.argv[1:]):
                raise UsageError(refused) from None
            report_failure(error)
            raise CellStopped(1) from None
        except SystemExit as leaving:
            # Ours are subclasses, so a plain one is Hydra's.
            if type(leaving) is SystemExit and leaving.code == 1:
                sys.exit(2)
            raise

    return main


def compose_config(overrides: list[str]) -> Config:
    """Compose by the program's own config tree: Hydra's, where it runs, with its search path."""
    register()
    if GlobalHydra.instance().is_initialized():
        return compose("config", overrides)
    with initialize_config_dir(conf_dir(), **VERSION_BASE):
        return compose("config", overrides)


def compose_settings(overrides: list[str]) -> Settings:
    """Return the settings of `python -m sslbench.train <overrides>`, but for what is set locally.

    Raises:
        ValueError: If a value is out of its range; Hydra's own error if a choice is unknown.
    """
    has_local = (Path(conf_dir()) / "local" / "default.yaml").exists()
    return to_settings(compose_config(overrides + ["~local"] * has_local))


class JobContext(NamedTuple):
    """How Hydra runs a job."""

    in_sweep: bool
    choices: Mapping[str, Any]
    """Of each config group."""
    is_grid: bool
    """Whether the config describes a sweep of cells, rather than one."""
    overrides: list[str]
    """What was typed, for the cell."""
    sweep_options: list[str]
    """Overrides that only a sweep heeds."""
    chdir: bool | None
    """Whether Hydra has changed the working directory for it."""


def refuse_chdir(chdir: bool | None) -> None:
    """Refuse a job's own working directory: relative paths would name other files there.

    Raises:
        ValueError: If it is asked for.
    """
    if chdir:
        raise ValueError(
            "hydra.job.chdir=true: each cell has its own folder already; leave it out, and choose "
            "where the cells go by outputs=…"
        )


def job_context() -> JobContext:
    """Return how Hydra runs the job that calls this."""
    config = HydraConfig.get()
    is_grid = bool(config.sweeper.get("params") or config.sweeper.get("grids"))
    typed = OmegaConf.to_container(config.overrides)  # as typed: without what `${…}` stands for
    of_sweeps = ("hydra.sweeper.", "hydra/launcher=", "hydra.launcher.")
    options = [override for override in typed["hydra"] if override.startswith(of_sweeps)]
    in_sweep = config.mode == RunMode.MULTIRUN
    choices, chdir = config.runtime.choices, config.job.chdir
    return JobContext(in_sweep, choices, is_grid, typed["task"], options, chdir)


def to_settings(config: Config, choices: Mapping[str, Any] | None = None) -> Settings:
    """Turn a composed config into settings.

    Args:
        choices: Of each config group; those that `config.hydra` has, where it is there.

    Raises:
        ValueError: If a key is unknown, a value missing, out of its range or an environment
            variable's, a name not its own, or several choices of a group are made.
    """
    if "hydra" in config:
        choices = config.hydra.runtime.choices
        config = copy.deepcopy(config)
        with flag_override(config, ["struct", "readonly"], [False, False]):
            del config["hydra"]
    _refuse_lists(choices or {})
    _refuse_unknown_keys(config)
    refuse_environment(config)
    try:
        found = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ValueError(reason(error, [])) from error
    _refuse_false_names(found, choices or {})
    return found


def _refuse_lists(choices: Mapping[str, Any]) -> None:
    """Refuse several choices of one group: Hydra would lay one over the other."""
    for group in GROUPS if choices else ():
        if group not in choices:  # which Hydra leaves out of them
            raise ValueError(one_choice(group, f"{group}=…"))


def _refuse_unknown_keys(node: DictConfig, path: str = "") -> None:
    """`+key=` gets past Hydra's check even with a schema: find such keys."""
    kind = OmegaConf.get_type(node)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else None
    for key in node:
        if names is not None and key not in names:
            raise ValueError(unknown_key(node, f"{path}{key}"))
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            child = node[key]
            if isinstance(child, DictConfig):
                _refuse_unknown_keys(child, f"{path}{key}.")


def _refuse_false_names(found: Settings, choices: Mapping[str, Any]) -> None:
    """Tables show these names. Those of other groups say what is done, or follow from numbers."""
    for group in ("model", "method", "augmentation", "optimizer"):
        name = found.model.choice if group == "model" else getattr(found, group).name
        _refuse_false_name(group, "name", name, choices)
    _refuse_false_name("data", "kind", found.data.kind, choices)


def _refuse_false_name(group: str, key: str, name: str, choices: Mapping[str, Any]) -> None:
    chosen = str(choices.get(group, name)).rpartition("/")[2]
    if name != chosen:
        raise ValueError(
            f"{group}.{key}={name} with {group}={chosen}: use {group}={name} or name it {chosen}"
        )
