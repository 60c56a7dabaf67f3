"""What a cell changed: the overrides that lead to it from the choices of its config groups.

Composing the config tree for the cell's model, method, ratio and data gives what was not changed.
"""

import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from sslbench.config.presets import compose_settings

from sslbench.cell.identity import identity
from sslbench.cell.record import model_settings
from sslbench.config import settings as schema
from sslbench.config.settings import Settings
from sslbench.tables import paper

Changes = dict[str, Any]
"""Overrides by key."""


def settings_from_dict(contents: dict[str, Any]) -> Settings:
    """Return settings out of what `record.settings_to_dict` made; new fields get their default.

    Raises:
        KeyError, TypeError, ValueError: If they are not settings of this version.
    """
    parts = dict(contents)
    method = dict(parts["method"])
    parts["model"] = model_settings(contents)
    parts["method"] = getattr(schema, method.pop("type"))(**method)
    views = {name: schema.View(**parts["augmentation"][name]) for name in ("view_a", "view_b")}
    parts["augmentation"] = schema.Augmentation(**(parts["augmentation"] | views))
    for name, kind in (
        ("ratio", schema.Ratio),
        ("optimizer", schema.Optimizer),
        ("data", schema.Data),
        ("tracking", schema.Tracking),
    ):
        parts[name] = kind(**parts[name])
    return Settings(**parts)


@cache
def composed(overrides: tuple[str, ...]) -> Settings | None:
    """Compose a choice of groups; None if the config tree no longer has one of them."""
    try:
        return compose_settings(list(overrides))
    except Exception:  # Hydra's errors share no base class
        return None


def _preset(settings: Settings, choices: Changes) -> Settings:
    """Return what the config tree gives for the cell's groups."""
    groups = {"method": settings.method.name, "data": settings.data.name} | choices
    base = composed(tuple(f"{group}={name}" for group, name in groups.items())) or Settings(
        method=type(settings.method)(), data=schema.Data(name=settings.data.name)
    )
    model = composed((f"model={settings.model.name}",))
    ratio = composed((f"ratio={settings.ratio.name}",))
    return replace(
        base,
        model=model.model if model else type(settings.model)(),
        ratio=ratio.ratio if ratio else schema.Ratio(),
        seed=settings.seed,
    )


def find_changes(settings: Settings) -> Changes:
    """Return the overrides that lead to a cell from its model, method, ratio, data and seed.

    Where its weights come from is no change but a row of its own; so is the seed. Cells that differ
    in nothing else are many: what was found for one is kept for the others.
    """
    settings = replace(settings, seed=0, init={"from": None})
    key = repr(settings)
    if key not in _found:
        _found[key] = _find_changes(settings)
    return dict(_found[key])


_found: dict[str, Changes] = {}


def _find_changes(settings: Settings) -> Changes:
    changes: Changes = {}
    plain = _differences(settings, _preset(settings, {}))
    for group in ("augmentation", "optimizer"):
        name = getattr(settings, group).name
        other = name != getattr(_preset(settings, {}), group).name
        if other and any(key.startswith(f"{group}.") for key in plain):
            changes[group] = name
    changes |= _differences(settings, _preset(settings, changes)) if changes else plain
    if settings.steps is not None:
        changes["steps"] = settings.steps
    elif settings.method.epochs != paper.EPOCHS.get(settings.method.name, settings.method.epochs):
        changes["method.epochs"] = settings.method.epochs
    return dict(sorted(changes.items()))


def _differences(settings: Settings, base: Settings) -> Changes:
    keys = flatten(identity(settings)).keys() | flatten(identity(base)).keys()
    mine, theirs = flatten(asdict(settings)), flatten(asdict(base))
    return {
        key: mine[key]
        for key in sorted(keys)
        if key in mine and mine[key] != theirs.get(key) and key != "data.name"
    }


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted keys."""
    flat = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def override_value(value: Any) -> str:
    """Write a value as Hydra reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def describe(changes: Changes) -> str:
    """Write changes as overrides, in words for a title."""
    return ", ".join(f"{key}={override_value(value)}" for key, value in changes.items())
