"""What Hydra and OmegaConf refuse, in few words."""

import difflib
import errno
import os
import re
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from textwrap import wrap

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
from yaml import MarkedYAMLError, YAMLError

from sslbench.config import ratio
from sslbench.config.arguments import GROUPS, unreadable
from sslbench.config.parts import Part
from sslbench.config.settings import Settings
from sslbench.words.trouble import find_trouble
from sslbench.words.wording import WIDTH, shorten

REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
"""What Hydra raises where a user's settings are wrong."""

OUR_CODE = re.compile(r"[/\\](sslbench|hydra_plugins[/\\]sslbench_sweeper)[/\\]")
ENTRY = ("train.py", "compose.py", "arguments.py")
NUM_LISTED = 8
"""Choices of a group in a message."""
SEVERAL = "{}: several values are a sweep; add -m as the first argument, or put one value in quotes"
SETTINGS = "|".join(field.name for field in fields(Settings))
SAID = (
    (r"Sweep parameters '(.+?)' requires --multirun", SEVERAL),
    (r"Ambiguous value for argument '(.+)'", SEVERAL),
    (r"Multiple values for (\S+?)\. .*: (\S+)'", "{0}: chosen twice; leave + out, as in {0}={1}"),
    (
        r"Config group override deletion value must be a string.*input_line='(.*?)'",
        "{}: a choice is a name; --help lists them",
    ),
    (
        "Unsupported item value in defaults : bool",
        'defaults: YAML reads off, on, yes and no as truth values; write "off" in quotes',
    ),
    (
        r"Unsupported item value in defaults : (\w+)",
        "defaults: a choice is a name, and YAML reads one as {}; put it in quotes",
    ),
    (
        rf"Could not override '({SETTINGS})'\. No match in the defaults list",
        "{}: cannot be set, as a folder of this name beside the configuration makes it a group; "
        "give --config-dir a folder of its own",
    ),
)
"""What Hydra says, and what it is in a user's words."""
DETAILS = (
    ("could not be converted to Integer", "must be a whole number"),
    ("could not be converted to Float", "must be a number"),
    ("is not a valid bool|could not be converted to Boolean", "must be true or false"),
    (r"Cannot convert '\w+' to string", "must be text"),
    (r"type hint 'Union\[int, str\]'", "must be a whole number or auto"),
    ("is not a ListConfig", "must be a list, as in [1,2]"),
    ("is not Optional", "must not be empty or null"),
)
"""What OmegaConf says of a value, and what it is in a user's words."""


EXTRAS = {"hydra/sweeper/optuna": "hpo"}
"""Choices that another package brings, and the extra that brings it."""


def reason(error: Exception, overrides: Sequence[str]) -> str:
    """Return an error's message without what Hydra adds about its own workings.

    Args:
        overrides: What was composed; some of Hydra's messages do not say which one they are about.
    """
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        near = os.path.relpath(mark.name)
        file = mark.name if near.startswith("..") else near
        return f"{file}: line {mark.line + 1}: {error.problem}"
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, UnicodeDecodeError):
        return f"a file of the configuration is not written in UTF-8 ({error})"
    if isinstance(error, OverrideParseException):
        return unreadable(error.override, error.message)
    if isinstance(error, MissingConfigException):
        return _no_choice(error)
    text = str(error)
    if text.startswith("Config group override must be"):
        without_key = [unreadable(it, "") for it in overrides if it.startswith("=")]
        return _no_name(overrides) or next(iter(without_key), text)
    if text.startswith("Exceeds the limit"):
        return f"{max(overrides, key=len, default='')}: has too many digits"
    for pattern, words in SAID:
        if found := re.match(pattern, text):
            return words.format(*found.groups())
    cause = error.__cause__ or error.__context__
    composing = isinstance(error, ConfigCompositionException)
    if composing and isinstance(cause, ConfigKeyError | ConfigAttributeError):
        file, colon, _ = text.partition(" ConfigKeyError raised")
        if colon and cause.full_key == "experiment":
            return f"{file} begin the file with the line: # @package _global_"
        return (f"{file} " if colon else "") + unknown_key(cause.parent_node, cause.full_key)
    if isinstance(error, ValueError) and not isinstance(error, OmegaConfBaseException):
        return text
    return _in_few_words(text, str(cause or ""))


def _in_few_words(text: str, cause: str) -> str:
    """Return what OmegaConf refuses, by the override or the file that it stands in."""
    where = _first_line(text)
    merging, _, override = where.partition("Error merging override ")
    where = where.partition(" raised while composing config")[0].replace(" ValidationError", "")
    if where.startswith("Could not create instance"):
        where = ""
    if not merging:
        where = override
    cause = cause or text
    known = [words for pattern, words in DETAILS if re.search(pattern, cause)]
    first = re.sub(r"^Could not create instance of `\w+`: ", "", _first_line(cause))
    detail = known[0] if known else first.partition(" value: {")[0]
    key = re.search(r"full_key: (\S+)", cause)
    if not override and key:
        detail = f"{key[1]}: {detail}"
    return detail if detail == where or not where else f"{where.rstrip(':')}: {detail}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _no_choice(error: MissingConfigException) -> str:
    """Say that a group has no such choice, and which it has."""
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    asked = str(error.missing_cfg_file)
    if asked == "hydra/launcher/submitit_slurm":
        return missing_launcher("slurm")
    if asked.startswith("ratio/"):
        return f"ratio={asked.removeprefix('ratio/')}: {ratio.RULE}"
    if asked in EXTRAS:
        return f"{group}={choice}: not installed; pip install 'sslbench[{EXTRAS[asked]}]'"
    known = [str(option) for option in error.options or []]
    if not group:
        return _first_line(str(error))
    if not known:
        group = next((it for it in GROUPS if asked.startswith(f"{it}/")), group)
        choice, known = asked.removeprefix(f"{group}/"), _options(group)
    near = difflib.get_close_matches(choice, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    more = f" and {len(known) - NUM_LISTED} more" if len(known) > NUM_LISTED else ""
    listed = f"there are {', '.join(known[:NUM_LISTED])}{more}" if known else "no such group"
    return f"{group}={choice}: no such choice; {hint}{listed}"


def missing_launcher(choice: str) -> str:
    """Say how to install the package that a launcher is of."""
    return (
        f"hydra/launcher={choice}: its launcher is not installed: pip install 'sslbench[{choice}]'"
    )


def _no_name(overrides: Sequence[str]) -> str | None:
    """Name the override that chooses what Hydra reads as a number, or as nothing."""
    parser = OverridesParser.create()
    for override in overrides:
        group = override.partition("=")[0].lstrip("+")
        if group in GROUPS or group.startswith("hydra/"):
            parsed = parser.parse_override(override)
            if not parsed.is_sweep_override() and not isinstance(parsed.value(), str | list):
                if group == "ratio":
                    return f"{override}: {ratio.RULE}; in YAML, put it in quotes"
                return f"{override}: a choice is a name; --help lists them"
    return None


def refused_by_hydra(error: Exception, overrides: Sequence[str]) -> str | None:
    """Return what Hydra says where it fails by the command line; None if it failed in our code."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [it for it in files if OUR_CODE.search(it) and not it.endswith(ENTRY)]
    if ours or (find_trouble(error) and getattr(error, "errno", None) != errno.ENAMETOOLONG):
        return None
    if isinstance(error, RecursionError):
        return "a file of the configuration refers to itself, or is nested too deeply"
    hydras = [it for it in overrides if it.lstrip("+~").startswith(("hydra.", "hydra/"))]
    if getattr(error, "errno", None) == errno.ENAMETOOLONG:
        return f"{max(overrides, key=len)}: longer than a file's name may be"
    said = ", ".join(hydras) or "the configuration"
    first, _, _ = str(error).strip().partition("\n")
    cause = f" ({shorten(first)})" if first and not isinstance(error, AssertionError) else ""
    return f"{said}: Hydra cannot take it{cause}; check it, or leave it out"


def _options(group: str) -> list[str]:
    if not GlobalHydra.instance().is_initialized():
        return []
    return GlobalHydra.instance().config_loader().get_group_options(group)


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
        known += ["preset", "experiment"]  # groups that leave no key
        inside = [it for it in names if isinstance(node[it], DictConfig) and key in node[it]]
        if inside:
            return f"unknown key {full_key}; did you mean {inside[0]}.{key}?"
    near = difflib.get_close_matches(key, known, 1)
    meant = f"{group}.{near[0]}" if group and near else "".join(near)
    listed = "\n    ".join(wrap(f"known: {', '.join(names)}", WIDTH - 4))
    hint = f" did you mean {meant}?" if near else f"\n    {listed}"
    return f"unknown key {full_key};{hint}"


def _keys_of_choices(group: str) -> dict[str, list[str]]:
    """Return the keys of each choice of a group, also those from outside the package."""
    return _keys_of(group, tuple(_options(group)))


@cache
def _keys_of(group: str, choices: tuple[str, ...]) -> dict[str, list[str]]:
    """Compose each choice once, however many cells of a sweep have the same fault."""
    found = {}
    for choice in choices:
        with suppress(*REFUSALS):  # one that cannot be composed has nothing to say
            found[choice] = [str(key) for key in compose("config", [f"{group}={choice}"])[group]]
    return found
