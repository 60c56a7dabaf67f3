"""A cell is its content: from settings to the id that names its folder.

What cannot change a cell's numbers stays out: fields marked EXECUTION, fields equal to their
default (so that a new setting moves no old id), and parts that the cell's method does not use.
"""

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any

from sslbench.config.as_json import import_path
from sslbench.config.parts import Part, Ratio
from sslbench.config.settings import Settings

SEPARATOR = "#"
"""Between a checkpoint's path and its digest in a concrete `init.from`."""
PACKAGE = __name__.partition(".")[0]


def identity(settings: Settings) -> dict[str, Any]:
    """Return all that tells this cell from others; settings must be concrete."""
    assert settings.data.kind != "auto", "the data set is not chosen yet"
    contents = _contents(replace(settings, ratio=effective_ratio(settings)))
    # The optimizer has the rate already; the other names are only names.
    contents["method"].pop("adam_lr", None)
    for group in ("model", "method", "augmentation", "ratio", "optimizer"):
        contents[group].pop("name", None)
    contents["data"] |= {"name": settings.data.kind}
    contents["data"].pop("type")
    if settings.optimizer.weight_decay == 0:
        contents["optimizer"].pop("decay_norms_and_biases", None)
    if not settings.uses_pool:
        contents.pop("ratio")
        contents["data"].pop("unlabeled_from", None)
    streams = settings.method.streams(settings.ratio)
    used = {view for stream in streams for view in stream.views.values()}
    contents["augmentation"] = {
        view: _operations(getattr(settings.augmentation, view)) for view in sorted(used)
    }
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
    if settings.uses_pool:
        parts.append(effective_ratio(settings).name.replace(":", "to"))
    parts += [settings.data.safe_name, f"s{settings.seed}", digest]
    return "-".join(parts)


def effective_ratio(settings: Settings) -> Ratio:
    """Return the ratio, or `all` where one of batches is asked of a method whose have none."""
    everything = Ratio(unlabeled=-1)
    streams = settings.method.streams
    if settings.ratio.of == "batch" and streams(settings.ratio) == streams(everything):
        return everything
    return settings.ratio


def _contents(node: Any) -> dict[str, Any]:
    """Return a dataclass's identity as nested dicts; `type` tells a part's class."""
    contents: dict[str, Any] = {}
    if isinstance(node, Part):
        # By name alone within the package, where files may move.
        kind = type(node)
        inside = kind.__module__.partition(".")[0] == PACKAGE
        contents["type"] = kind.__qualname__ if inside else import_path(kind)
    for field in fields(node):
        if field.metadata.get("identity", True):
            value = getattr(node, field.name)
            if is_dataclass(value):
                contents[field.name] = _contents(value)
            elif value != _default(field):
                contents[field.name] = value
    return contents


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _operations(view: dict[str, Any]) -> list[list[Any]]:
    """Return a view's operations in their order; a name counts, as what one draws hangs on it."""
    return [[name, _contents(operation)] for name, operation in view.items() if operation.p > 0]
