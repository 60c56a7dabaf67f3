"""What Hydra and OmegaConf refuse, in few words."""

import difflib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from sslbench.config import ratio
from sslbench.config.parts import Part
from sslbench.config.settings import Settings

REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
"""What Hydra raises where a user's settings are wrong."""

GROUPS = [field.name for field in fields(Settings) if is_dataclass(field.type)] + ["experiment"]


def reason(error: Exception, overrides: Sequence[str]) -> str:
    """Return an error's message without what Hydra adds about its own workings.

    Args:
        overrides: What was composed; some of Hydra's messages do not say which one they are about.
    """
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, OverrideParseException):
        detail = error.message.removeprefix(f"Error parsing override '{error.override}'\n")
        detail = detail.splitlines()[0].partition(" expecting ")[0]
        return f"{error.override}: cannot be read as key=value ({detail}); check commas and quotes"
    if isinstance(error, MissingConfigException):
        group, _, choice = str(error.missing_cfg_file).partition("/")
        if group == "ratio":
            return f"ratio={choice}: {ratio.RULE}"
    if str(error).startswith("Config group override must be"):
        return _no_name(overrides) or str(error)
    if str(error).startswith("Unsupported item value in defaults"):
        return f"{error}; put a ratio in quotes"
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


def _no_name(overrides: Sequence[str]) -> str | None:
    """Name the override that chooses what Hydra reads as a number, or as nothing."""
    parser = OverridesParser.create()
    for override in overrides:
        group = override.partition("=")[0]
        if group in GROUPS:
            parsed = parser.parse_override(override)
            if not parsed.is_sweep_override() and not isinstance(parsed.value(), str | list):
                if group == "ratio":
                    return f"{override}: {ratio.RULE}; in YAML, put it in quotes"
                return f"{override}: a choice is a name; --help lists them"
    return None


def unknown_key(node: DictConfig, full_key: str) -> str:
    """Say that `node` has no such key, and what its user may have meant."""
    group, _, key = full_key.rpartition(".")
    kind = OmegaConf.get_type(node)
    names = [str(name) for name in node]
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
    others = _keys_of_choices(group) if is_dataclass(kind) and issubclass(kind, Part) else {}
    owners = [f"{group}={choice}" for choice, keys in others.items() if key in keys]
    if owners:
        return f"unknown key {full_key}; it belongs to {' and '.join(owners)}"
    known = [*names, *(name for keys in others.values() for name in keys)]
    if kind is Settings:
        known.append("experiment")  # a group that leaves no key
    near = difflib.get_close_matches(key, known, 1)
    meant = f"{group}.{near[0]}" if group and near else "".join(near)
    hint = f"did you mean {meant}?" if near else f"known: {', '.join(names)}"
    return f"unknown key {full_key}; {hint}"


def _keys_of_choices(group: str) -> dict[str, list[str]]:
    """Return the keys of each choice of a group, also those from outside the package."""
    if not GlobalHydra.instance().is_initialized():
        return {}
    choices = GlobalHydra.instance().config_loader().get_group_options(group)
    found = {}
    for choice in choices:
        with suppress(*REFUSALS):  # one that cannot be composed has nothing to say
            found[choice] = [str(key) for key in compose("config", [f"{group}={choice}"])[group]]
    return found
