"""From the overrides of a sweep's cells to settings: what many cells share is composed once.

Hydra takes a tenth of a second for a cell. Nearly all of that goes into choosing and merging files,
which plain values such as `seed=7` have no part in: Hydra sets them in the result, as is done here.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from omegaconf import DictConfig, OmegaConf, flag_override

from sslbench.config.compose import to_settings
from sslbench.config.settings import Settings

PLAIN = [field.name for field in fields(Settings) if not is_dataclass(field.type)]
"""Keys at the top that no config group has."""


class GridComposer:
    """Returns settings, and the choices of the config groups, for a cell's overrides.

    Args:
        load: Composes overrides in full, `hydra` among what it returns.
    """

    def __init__(self, load: Callable[[list[str]], DictConfig]) -> None:
        self._load = load
        self._shared = cache(self._load_shared)

    def __call__(self, overrides: Sequence[str]) -> tuple[Settings, Mapping[str, Any]]:
        parsed = [_parse(override) for override in overrides]
        plain = [each for each in parsed if _is_plain(each, parsed)]
        shared = [each.input_line for each in parsed if each not in plain]
        found = self._with_values(shared, plain) if plain else None
        config, choices = found or _split(self._load(list(overrides)))
        return to_settings(config, choices), choices

    def _with_values(
        self, shared: Sequence[str], values: Sequence[Override]
    ) -> tuple[DictConfig, Mapping[str, Any]] | None:
        """Set values in what is composed once; None where Hydra is to say why that cannot be."""
        try:
            config, choices = self._shared(*shared)
            config = copy.deepcopy(config)
            for each in values:
                OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
        except Exception:
            return None
        return config, choices

    def _load_shared(self, *overrides: str) -> tuple[DictConfig, Mapping[str, Any]]:
        return _split(self._load(list(overrides)))


def _split(config: DictConfig) -> tuple[DictConfig, Mapping[str, Any]]:
    choices = dict(config.hydra.runtime.choices)
    with flag_override(config, ["struct", "readonly"], [False, False]):
        del config["hydra"]
    return config, choices


@cache
def _parse(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def _is_plain(override: Override, others: Sequence[Override]) -> bool:
    """Whether an override sets one value that no other one has to do with, and chooses no file.

    Where none has, it does not matter in which order they are applied.
    """
    key = override.key_or_group
    group, dot, _ = key.partition(".")
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and (dot == "." or key in PLAIN)
        and "/" not in key
        and group != "hydra"
        and override.value_type == ValueType.ELEMENT
        and isinstance(override.value(), int | float | str | bool | None)
        and not any(_overlap(key, each) for each in others if each is not override)
    )


def _overlap(key: str, other: Override) -> bool:
    """Whether another override may set the same; what chooses a file comes before all values."""
    theirs = other.key_or_group
    if "." not in theirs and theirs not in PLAIN and not isinstance(other.value(), dict):
        return False
    return f"{key}.".startswith(f"{theirs}.") or f"{theirs}.".startswith(f"{key}.")
