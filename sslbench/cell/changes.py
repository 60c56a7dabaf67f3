"""What a cell changed: the overrides that lead to it from the choices of its config groups.

Composing the config tree for the cell's model, method, ratio, data and preset gives what was not
changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from sslbench.cell.identity import identity
from sslbench.cell.record import Changes, flatten
from sslbench.config.as_json import TYPE, settings_to_json
from sslbench.config.compose import compose_settings
from sslbench.config.data import MOST_LABELED
from sslbench.config.parts import Method, Ratio
from sslbench.config.settings import Settings
from sslbench.machine.hardware import auto_precision

PAPER = "paper"
"""The preset that is none."""


def find_changes(settings: Settings, choices: Mapping[str, Any]) -> Changes:
    """Return the overrides that lead to a cell from its model, method, ratio, data and seed.

    Settings are concrete. Whose weights it starts from is no change but a row of its own; so is
    the seed.

    Args:
        choices: Of the config groups, as Hydra has them.
    """
    groups = {
        "model": choices.get("model", settings.model.choice),
        "method": choices.get("method", settings.method.name),
        "ratio": settings.ratio.name,
        "data": settings.data.kind,
    }
    if settings.model.choice != settings.model.name:  # its name is a setting
        groups["model.name"] = settings.model.name
    changes: Changes = {}
    if choices.get("preset", PAPER) != PAPER:
        changes["preset"] = choices["preset"]
    preset = _preset(**groups, **changes)
    for group in ("augmentation", "optimizer"):
        chosen = choices.get(group, getattr(settings, group).name)
        differs = identity(settings)[group] != identity(preset)[group]
        if chosen != getattr(preset, group).name and differs:
            changes[group] = chosen
    mine = replace(settings, init={"from": None})
    # What a machine's hardware has is no change.
    precision = auto_precision(settings.device)
    preset = replace(_preset(**groups, **changes), seed=settings.seed, precision=precision)
    mine, theirs = (
        flatten(_identity_by_key(replace(each, method=_settled(each.method, settings.ratio))))
        for each in (mine, preset)
    )
    values, others = (flatten(settings_to_json(each)) for each in (settings, preset))
    # A value that only the other has need of, as `steps` needs no epochs, is the same in both.
    changes |= {
        key: values[key]
        for key in mine.keys() | theirs.keys()
        if mine.get(key) != theirs.get(key) and not key.endswith(f".{TYPE}")
        if key in values and values[key] != others.get(key)
    }
    return dict(sorted(changes.items()))


def _settled(method: Method, ratio: Ratio) -> Method:
    """Return a method without what makes no difference beside a ratio, which is no change."""
    return method.settled(ratio, lambda: MOST_LABELED)


@cache
def _preset(**groups: str) -> Settings:
    return compose_settings([f"{group}={choice}" for group, choice in groups.items()])


def _identity_by_key(settings: Settings) -> dict[str, Any]:
    """Return an identity whose operations are by name, as overrides have them.

    Each says its `p`, so that one that is left out, as it is never applied, differs in that.
    """
    contents = identity(settings)
    for view, operations in contents["augmentation"].items():
        applied = getattr(settings.augmentation, view)
        contents["augmentation"][view] = {
            name: operation | {"p": applied[name].p} for name, operation in operations
        }
    return contents
