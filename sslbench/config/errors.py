"""What Hydra and OmegaConf refuse, in few words."""

import difflib
from dataclasses import fields, is_dataclass

from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from sslbench.config.settings import Method, Model, Settings

REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
"""What Hydra raises where a user's settings are wrong."""


def reason(error: Exception) -> str:
    """Return an error's message without what Hydra adds about its own workings."""
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        detail = error.message.removeprefix(f"Error parsing override '{error.override}'\n")
        detail = detail.splitlines()[0].partition(" expecting ")[0]
        return f"{error.override}: cannot be read as key=value ({detail}); check commas and quotes"
    cause = error.__cause__ or error.__context__
    composing = isinstance(error, ConfigCompositionException)
    if composing and isinstance(cause, ConfigKeyError | ConfigAttributeError):
        file, colon, _ = str(error).partition(" ConfigKeyError raised")
        return (f"{file} " if colon else "") + unknown_key(cause.parent_node, cause.full_key)
    if isinstance(error, ValueError):
        return str(error)
    text = f"{error}\n{error.__cause__ or ''}"
    for start in ("Config search path", "    full_key:", "To append to your"):
        text = text.partition(start)[0]
    return "\n".join(line for line in text.splitlines() if line.strip()) or repr(error)


def unknown_key(node: DictConfig, full_key: str) -> str:
    """Say that `node` has no such key, and what its user may have meant."""
    group, _, key = full_key.rpartition(".")
    kind = OmegaConf.get_type(node)
    names = _names(kind) if is_dataclass(kind) else [str(name) for name in node]
    # Other models where it is a model, other methods where it is a method.
    others = kind.__base__.__subclasses__() if kind.__base__ in (Model, Method) else []
    owners = [f"{group}={other.name}" for other in others if key in _names(other)]
    if owners:
        return f"unknown key {full_key}; it belongs to {' and '.join(owners)}"
    known = [*names, *(name for other in others for name in _names(other))]
    if kind is Settings:
        known.append("experiment")  # a group that leaves no key
    near = difflib.get_close_matches(key, known, 1)
    meant = f"{group}.{near[0]}" if group and near else "".join(near)
    hint = f"did you mean {meant}?" if near else f"known: {', '.join(names)}"
    return f"unknown key {full_key}; {hint}"


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]
