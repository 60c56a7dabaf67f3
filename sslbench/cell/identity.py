"""A cell is its content: from settings to the id that names its folder.

What cannot change a cell's numbers stays out: fields marked EXECUTION, fields equal to their
default (so that a new setting moves no old id), and parts that the cell's method does not use.
"""

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

from sslbench.config.settings import Semi, Settings, Supervised

SEPARATOR = "#"
"""Between a checkpoint's path and its digest in a concrete `init.from`."""


def _contents(node: Any) -> dict[str, Any]:
    """Return a dataclass's identity as nested dicts, `type` naming the class."""
    default = type(node)()
    contents: dict[str, Any] = {"type": type(node).__name__}
    for field in fields(node):
        if not field.metadata.get("identity", True):
            continue
        value = getattr(node, field.name)
        if is_dataclass(value):
            contents[field.name] = _contents(value)
        elif value != getattr(default, field.name):
            contents[field.name] = value
    return contents


def identity(settings: Settings) -> dict[str, Any]:
    """Return all that tells this cell from others; settings must be concrete."""
    assert settings.data.name != "auto", "the data set is not chosen yet"
    contents = _contents(settings)
    # The optimizer has it already; the names of an augmentation and a ratio are only names.
    for group, name in (("method", "adam_lr"), ("augmentation", "name"), ("ratio", "name")):
        contents[group].pop(name, None)
    # Model and method are told apart by their settings, and their class where those are default.
    contents["model"].pop("name", None)
    if not settings.method.uses_pool:
        contents.pop("ratio")
    if isinstance(settings.method, Supervised):
        contents["augmentation"].pop("view_b")
    if not isinstance(settings.method, Semi):
        contents.get("ratio", {}).pop("of", None)
    if settings.optimizer.name == "sgd":
        contents["optimizer"].pop("betas", None)
    else:
        for name in ("momentum", "nesterov"):
            contents["optimizer"].pop(name, None)
    if settings.steps is not None:
        contents["method"].pop("epochs", None)
    if settings.init_from is not None:
        contents["init"] = {"from": settings.init_from.rpartition(SEPARATOR)[2]}
    return contents


def cell_id(settings: Settings) -> str:
    """Name a cell: readable parts, then eight hex digits of the hash of its identity.

    Letters, digits, `_`, `-` and `.` only: the id is a folder's name and a W&B run's id.
    """
    canonical = json.dumps(identity(settings), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    parts = [settings.method.name, settings.model.name]
    if settings.method.uses_pool:
        parts.append(settings.ratio.name.replace(":", "to"))
    parts += [settings.data.name, f"s{settings.seed}", digest]
    return "-".join(parts)
