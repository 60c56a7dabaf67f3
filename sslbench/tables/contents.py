"""What a report holds: tables, claims, pictures and problems, ready to be shown in any format."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sslbench.tables.gather import Cell
from sslbench.tables.groups import Group

if TYPE_CHECKING:
    from sslbench.tables.claims import ClaimResult


@dataclass(frozen=True)
class Table:
    """A table whose `frame` holds strings and numbers as they are to be shown.

    `name` is a file's stem, `note` says what the columns mean, `values` are the same rows with
    unrounded numbers; `commands` are the commands that fill the gaps.
    """

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    values: pd.DataFrame
    commands: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """A PNG below the report's folder, its data beside it."""

    name: str
    title: str
    caption: str
    path: Path


@dataclass
class Report:
    """Everything about one output folder, at the time `generated` (UTC, ISO 8601)."""

    outputs: Path
    cells: list[Cell] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    claims: "list[ClaimResult]" = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    generated: str = ""

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.outputs / "report"
