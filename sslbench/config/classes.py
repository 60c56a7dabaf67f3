"""Parts as schemas: a YAML file names the class that declares one by its import path.

As in `defaults: [/class/mylab.simsiam.SimSiam@_here_, _self_]`. What is named may also be a dict of
classes: a chain of operations.
"""

from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from sslbench.config.parts import Part

PREFIX = "class/"


def find_class(path: str) -> type[Part]:
    """Return the part that an import path names.

    Raises:
        ValueError: If it cannot be imported, or is no part.
    """
    return _require_part(path, _import(path))


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot be imported ({error}); start from the folder that holds it, add that "
            "folder to PYTHONPATH, or install its package"
        ) from error


def _require_part(path: str, kind: Any) -> type[Part]:
    if isinstance(kind, type) and issubclass(kind, Part) and is_dataclass(kind):
        return kind
    raise ValueError(f"{path}: is no part; derive a dataclass from one of sslbench.config.parts")


def _schema(path: str) -> DictConfig:
    """Return the schema of a part, or of a dict of parts by name."""
    found = _import(path)
    if not isinstance(found, dict):
        return OmegaConf.structured(_require_part(path, found))
    parts = {name: _require_part(path, kind) for name, kind in found.items()}
    return OmegaConf.create({name: OmegaConf.structured(kind) for name, kind in parts.items()})


class ClassSource(ConfigSource):
    """Answers for `class/<module>.<Class>`; parameter names are Hydra's, which calls by keyword."""

    @staticmethod
    def scheme() -> str:
        return "class"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        try:
            config = _schema(config_path.removeprefix(PREFIX).removesuffix(".yaml"))
        except ValueError as error:
            raise ConfigLoadError(str(error)) from error
        return ConfigResult(
            provider=self.provider, path="class://", config=config, header={"package": None}
        )

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "class")

    def is_config(self, config_path: str) -> bool:
        return (config_path or "").startswith(PREFIX) and "." in config_path

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []  # the group is no choice of its own
