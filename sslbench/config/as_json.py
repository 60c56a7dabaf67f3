"""Settings as JSON values and back; parts carry the import path of their class under `type`."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from inspect import getdoc
from typing import Any

from sslbench.config.classes import find_class
from sslbench.config.parts import Model, Part
from sslbench.config.settings import Settings
from sslbench.words.redact import redacted

TYPE, DESCRIPTION, CHOICE = "type", "description", "choice"


def import_path(kind: type) -> str:
    """Return what `find_class` finds a class by."""
    return f"{kind.__module__}.{kind.__qualname__}"


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON values; the method's `description` is its docstring's first line.

    A model whose name is a setting has its `choice` of the config group too.

    A password in `data.url` is left out: what is stored is read by others.
    """
    contents = _to_json(settings)
    documentation = getdoc(type(settings.method)) or settings.method.name
    contents["method"][DESCRIPTION] = documentation.splitlines()[0]
    if settings.model.choice != settings.model.name:
        contents["model"][CHOICE] = settings.model.choice
    if "url" in contents["data"]:
        contents["data"]["url"] = redacted("".join(contents["data"]["url"].split()))
    return contents


def _to_json(value: Any) -> Any:
    if is_dataclass(value):
        own = {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
        return {TYPE: import_path(type(value)), **own} if isinstance(value, Part) else own
    if isinstance(value, Mapping):
        return {key: _to_json(each) for key, each in value.items()}
    return [_to_json(each) for each in value] if isinstance(value, list | tuple) else value


def settings_from_json(contents: dict[str, Any]) -> Settings:
    """Return settings out of what `settings_to_json` made; new fields get their default.

    Raises:
        ValueError: If they are not settings of this version, or a part cannot be imported.
    """
    try:
        return _build(Settings, contents)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not settings of this version ({error})") from error


def model_from_json(contents: dict[str, Any]) -> Model:
    """Return the model's settings out of what `settings_to_json` made.

    Raises:
        ValueError: If it is no model.
    """
    model = _build(Model, contents["model"])
    if not isinstance(model, Model):
        raise ValueError(f"{contents['model'][TYPE]}: is no model")
    return model


def _build(kind: type, contents: dict[str, Any]) -> Any:
    arguments = dict(contents)
    kind = find_class(arguments.pop(TYPE)) if issubclass(kind, Part) else kind
    for added in (DESCRIPTION, CHOICE):
        arguments.pop(added, None)
    types = {field.name: field.type for field in fields(kind)}
    return kind(**{name: _restore(types[name], value) for name, value in arguments.items()})


def _restore(kind: Any, value: Any) -> Any:
    if is_dataclass(kind):
        return _build(kind, value)
    if isinstance(value, dict):  # of operations, or of plain values
        return {
            name: _build(Part, each) if isinstance(each, dict) and TYPE in each else each
            for name, each in value.items()
        }
    return value
