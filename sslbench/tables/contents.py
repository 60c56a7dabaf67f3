"""What a report holds: tables, claims, pictures and problems, ready to be shown in any format."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from sslbench.tables.claims import Claim
from sslbench.tables.gather import Cell
from sslbench.tables.groups import Group


@dataclass(frozen=True)
class Table:
    """A table in text and in numbers; `name` is its files' stem."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    """As it is to be shown."""
    values: pd.DataFrame
    """The same with unrounded numbers."""
    commands: list[str] = field(default_factory=list)
    """What fills the gaps."""


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
    claims: list[Claim] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What must be known of results that are none the less sound."""
    generated: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.outputs / "report"
