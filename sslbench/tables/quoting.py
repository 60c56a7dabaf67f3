"""Settings written to be pasted: quoted for Hydra, and the words for a shell.

They are written from records, which may be others': nothing but settings is.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

from sslbench.tables.groups import written

KEY = re.compile(r"(?!hydra\b)[a-z]\w*(\.\w+)*", re.ASCII)
"""What a setting is called, and neither an option nor one of Hydra's own."""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BARE = re.compile(r"[\w/.:+@%*?|-]+( [\w/.:+@%*?|-]+)*", re.ASCII)
"""Text that Hydra reads without quotes, unless it would be a number or another value."""
NO_TEXT = re.compile(r"(true|false|null|nan|[+-]?inf|[+-]?[\d._]+(e[+-]?\d+)?)", re.I)
WORD = re.compile(r"[a-z_]\w*", re.I | re.ASCII)


def setting(key: str, value: object) -> str | None:
    """Write a setting as Hydra is to read it; None of what is no setting or holds other lines.

    >>> setting("outputs", "a,b"), setting("model.widths", [8, 16]), setting("steps", 40)
    ('outputs="a,b"', 'model.widths=[8,16]', 'steps=40')
    """
    text = written(value)
    if not KEY.fullmatch(key) or CONTROL.search(text):
        return None
    if not isinstance(value, str) or (BARE.fullmatch(text) and not NO_TEXT.fullmatch(text)):
        return f"{key}={text}"
    # `${` would be another setting's value.
    return f"{key}={_quoted(text)}".replace("${", "\\${")


def _quoted(text: str) -> str:
    # Backslashes before a quote are doubled.
    text = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + '\\"' * bool(found[2]), text)
    return f'"{text}"'


def as_grids(grids: Sequence[Mapping[str, str]]) -> str:
    r"""Write axes, whose values are as Hydra reads them, as the grids of one sweep.

    >>> as_grids([{"method": "semi", "seed": "1,2"}, {"init.from": "'barlow steps=9'"}])
    '+hydra.sweeper.grids={g1:{method:semi,seed:"1,2"},g2:{init.from:"\\"barlow steps=9\\""}}'
    """
    texts = [
        f"g{number}:{{{','.join(f'{key}:{_nested(value)}' for key, value in axes.items())}}}"
        for number, axes in enumerate(grids, start=1)
    ]
    return f"+hydra.sweeper.grids={{{','.join(texts)}}}"


def _nested(value: str) -> str:
    if value.startswith("'"):  # the shell's quotes are better left to the shell
        value = f'"{value[1:-1]}"'
    return value if WORD.fullmatch(value) and not NO_TEXT.fullmatch(value) else _quoted(value)


def for_shell(word: str) -> str:
    """Quote for a shell: `init.from='barlow steps=9'` has quotes of its own, for Hydra."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)
