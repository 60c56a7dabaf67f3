"""Environment variables in settings: only where they name a place, as settings are recorded."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers import oc

ALLOWED = ("outputs", "data.root", "data.url")
"""Settings that may be taken from a variable; of the last a password is not stored."""
_reads: list[str] = []


def watch_environment() -> None:
    """Have OmegaConf note which variables it reads."""

    def env(name: str, *default: Any) -> str | None:
        _reads.append(name)
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)


def refuse_environment(node: DictConfig | ListConfig, path: str = "") -> None:
    """Refuse settings whose value is a variable's, by whichever way: it may be a secret.

    Raises:
        ValueError: If one is, naming it.
    """
    for key in node if isinstance(node, DictConfig) else range(len(node)):
        if OmegaConf.is_missing(node, key):
            continue
        _reads.clear()
        try:
            child = node[key]
        except Exception:  # it cannot be resolved, which is refused elsewhere
            child = None
        name = f"{path}{key}"
        setting = key if path.startswith("hydra.") else name  # grids hold whole keys
        if _reads and setting not in ALLOWED:
            raise ValueError(
                f"{name}: its value would be that of the environment variable {_reads[0]}, and be "
                f"recorded; write the value itself. Only {', '.join(ALLOWED)} may be variables"
            )
        if isinstance(child, DictConfig | ListConfig):
            refuse_environment(child, f"{name}.")
