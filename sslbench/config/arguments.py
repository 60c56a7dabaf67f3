"""The command line as Hydra is to read it, and what cannot be read of it."""

import argparse
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sslbench.config.settings import Settings

TEXTS = re.compile(
    r"\+*(outputs|cell|init\.from|data\.(root|url)|tracking\.(project|entity|group))="
)
"""Settings that are any text, such as a path."""
GROUPS = [field.name for field in fields(Settings) if is_dataclass(field.type)]
GROUPS += ["preset", "experiment"]  # which leave no key
OPEN = "model.arguments."
KEYS = {*GROUPS, *(field.name for field in fields(Settings)), "hydra"}
MULTIRUN = {"-m", "--multirun"}
PART_GROUPS = ("model", "method", "augmentation", "optimizer")
"""Groups whose choices have settings of their own."""
MOST_VALUES = 1000
"""In one argument: Hydra reads some hundreds a second."""
CLOSING = {"(": ")", "[": "]", "{": "}"}


@contextmanager
def as_hydra_reads_it() -> Iterator[None]:
    """Let a sweep's settings of parts be those of its cells, whatever the default parts are.

    Hydra composes the defaults with all that is not swept before it asks the sweeper; so a setting
    of a part that is swept becomes a sweep of one value.

    Settings may be written `--key=value`; text that Hydra reads only in quotes is put into quotes.

    Raises:
        ValueError: If an argument is too long to be read.
    """
    original = sys.argv
    typed = [_without_dashes(argument) for argument in original]
    for argument in typed[1:]:
        group, _, chosen = argument.lstrip("+").partition("=")
        if group in GROUPS and chosen.startswith("["):
            raise ValueError(one_choice(group, argument))
        # Others are chosen by it: Hydra would speak of those.
        if group.startswith("~") and (without := group[1:]) in GROUPS:
            raise ValueError(one_choice(without, f"{without}=…"))
        if argument.count(",") > MOST_VALUES:
            raise ValueError(
                f"{argument}: {argument.count(',') + 1:,} values in one argument, and at most "
                f"{MOST_VALUES:,} are read; write range(0,10), or put them into a file of conf/"
            )
    parser, sweeps = OverridesParser.create(), not MULTIRUN.isdisjoint(typed)
    settings = [it for it in typed[1:] if _is_setting(it)]
    options = [it for it in typed[1:] if it not in MULTIRUN and not _is_setting(it)]
    sys.argv = [typed[0], *["-m"] * sweeps, *options]  # first: argparse takes settings in one go
    for argument in as_texts(settings):
        sys.argv.append(_swept(parser, argument) if sweeps else argument)
    try:
        yield
    finally:
        sys.argv = original


def typed_config_dirs() -> list[str]:
    """Return the folders of `--config-dir` of this command, as they were typed."""
    command = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    command.add_argument("--config-dir", "-cd", default=[], action="append")
    return command.parse_known_args()[0].config_dir


def as_texts(arguments: Iterable[str]) -> list[str]:
    """Write settings as Hydra reads them.

    Text with characters such as `~` or `é` goes into quotes, and what another library's function
    takes, which no schema knows, gets the `++` of a key that may be new.
    """
    parser = OverridesParser.create()
    quoted = (_quoted(parser, it) if TEXTS.match(it) else it for it in arguments)
    return [f"++{it}" if it.startswith(OPEN) else it for it in quoted]


def _is_setting(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _without_dashes(argument: str) -> str:
    """Return a setting as Hydra has it where it is written `--key=value`, as by `wandb agent`."""
    key, equals, _ = argument.removeprefix("--").partition("=")
    is_setting = re.split(r"[./@]", key)[0] in KEYS
    return argument.removeprefix("--") if equals and is_setting else argument


def one_choice(group: str, chosen: str) -> str:
    """Say that a group has one choice."""
    if group == "experiment":
        hint = "experiment=paper has all of the paper's; give one command for each of the others"
    else:
        hint = f"to try several, sweep them: -m {group}=a,b"
    return f"{chosen}: one choice at a time; {hint}"


def _quoted(parser: OverridesParser, argument: str) -> str:
    key, _, value = argument.partition("=")
    if any(it in value for it in "'\"\\,()[]{}"):  # Hydra's grammar, which may mean something
        return argument
    try:
        parser.parse_override(argument)
    except HydraException:
        return f'{key}="{value}"'
    return argument


def _swept(parser: OverridesParser, argument: str) -> str:
    key, _, value = argument.partition("=")
    group, dot, _ = key.lstrip("+").partition(".")
    if group not in PART_GROUPS or not dot or not value:
        return argument
    try:
        is_swept = parser.parse_override(argument).is_sweep_override()
    except HydraException:  # which Hydra is to say
        return argument
    return argument if is_swept else f"{key}=choice({value})"


def unreadable(override: str, hydras: str) -> str:
    """Say why an override cannot be read, and how to write it.

    Args:
        hydras: Hydra's own words, which point with `^` to a character that it does not know.
    """
    key, equals, value = override.partition("=")
    if not equals or not key.strip("+~"):
        return f"{override}: write key=value, as in seed=1; --help lists the keys"
    if not _is_key(key):
        return f"{override}: {key} is no key; keys are letters, digits and dots, as in optimizer.lr"
    fault = _fault(value) or _unknown_character(override, hydras) or "it is no number, list or word"
    quoted = value.strip("'\"").replace("\\", "\\\\").replace('"', '\\"')
    example = shlex.quote(f'{key}="{quoted}"')
    return f"{override}: {fault}; as text it would be {example}"


def _is_key(key: str) -> bool:
    bare = key.lstrip("+~").partition("@")[0]
    return bare.isascii() and all(it.isalnum() or it in "._-/$" for it in bare)


def _unknown_character(override: str, hydras: str) -> str | None:
    first, _, pointer = hydras.partition("\n")
    place = pointer.partition("\n")[0].find("^") - first.find(override)
    if not 0 <= place < len(override):
        return None
    return f"{override[place]!r} stands only in quotes"


def _last(opened: list[str]) -> str | None:
    return opened[-1] if opened else None


def _fault(value: str) -> str | None:
    """Return what is amiss with a value's quotes, brackets or commas."""
    opened: list[str] = []
    quote, before = None, ""
    for character in value:
        if quote:
            quote = None if character == quote and before != "\\" else quote
        elif character in "'\"" and before in ("", *"[({,:= "):
            quote = character
        elif before != "\\" and character in CLOSING:
            opened.append(CLOSING[character])
        elif before != "\\" and character in CLOSING.values() and character != _last(opened):
            return f"{character} closes nothing"
        elif before != "\\" and character in CLOSING.values():
            opened.pop()
        before = character
    if quote:
        return f"{quote} is not closed"
    if opened:
        return f"{opened[-1]} is missing"
    if value.strip(" ").startswith(",") or value.strip(" ").endswith(",") or ",," in value:
        return "a value is missing beside a comma"
    return None
