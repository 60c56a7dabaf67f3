"""What the schema of a Parquet file tells of its columns, as Hugging Face or others write it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.files.small import MIB, read_small

if TYPE_CHECKING:
    from pyarrow import Schema

CLASS_NAMES = "class_names.txt"
LABELS = ("label", "labels", "fine_label", "class", "target")
"""What a column of labels is called where the schema does not say which it is."""


def image_column(asked: str, schema: "Schema") -> str:
    """Return the column of encoded images: the one asked for, else the one that the schema tells.

    Raises:
        ValueError: If there is none, or more than one.
    """
    if asked:
        return _require_column("image_column", asked, schema)
    of_type = [name for name, it in _features(schema).items() if it.get("_type") == "Image"]
    binary = [field.name for field in schema if _holds_bytes(field.type)]
    for found in (of_type, binary):
        if len(found) == 1:
            return found[0]
    raise ValueError(_undecided("image_column", "images", schema))


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)


def label_column(asked: str, schema: "Schema", image: str) -> str:
    """Return the column of labels, as `image_column` does."""
    if asked:
        return _require_column("label_column", asked, schema)
    features = _features(schema)
    of_type = [name for name, it in features.items() if it.get("_type") == "ClassLabel"]
    of_name = [name for name in LABELS if name in schema.names]
    rest = [name for name in schema.names if name != image]
    for found in (of_type, of_name, rest):
        if len(found) == 1:
            return found[0]
    raise ValueError(_undecided("label_column", "labels", schema))


def _require_column(setting: str, column: str, schema: "Schema") -> str:
    if column not in schema.names:
        known = ", ".join(schema.names)
        raise ValueError(f"data.{setting}={column}: there is no such column; there are {known}")
    return column


def _undecided(setting: str, what: str, schema: "Schema") -> str:
    known = ", ".join(schema.names)
    return f"data=parquet: which column holds {what}? set data.{setting}=… to one of {known}"


def _features(schema: "Schema") -> dict[str, dict[str, Any]]:
    """Return Hugging Face's description of the columns, where there is one."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: it for name, it in features.items() if isinstance(it, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def class_names_of(schema: "Schema", label: str, folder: Path) -> list[str] | None:
    """Return the classes that the labels 0, 1 and so on stand for, where anything tells them."""
    names = _features(schema).get(label, {}).get("names")
    if isinstance(names, list) and names:
        return [str(name) for name in names]
    path = folder / CLASS_NAMES
    return read_small(path, MIB).decode().splitlines() if path.is_file() else None
