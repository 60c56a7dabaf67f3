"""What a report holds: verdict, tables, claims, ablations and problems, for any format."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sslbench.tables.claims import Claim, overall
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


class Place(NamedTuple):
    """What a model reaches by one kind of learning; accuracies are fractions, None if missing."""

    model: str
    """As the paper writes it."""
    paper: float | None
    ours: float | None
    """Mean over seeds."""
    low: float | None
    high: float | None
    interval_of: str | None
    """What the 95 % interval is of: `images`, or `seeds and images`."""
    num_seeds: int
    is_best: bool
    """Whether ours is the highest of its line."""
    collapsed: tuple[str, ...]
    """What is said of those of its cells that are no better than chance."""


class Line(NamedTuple):
    """One kind of learning of the first table: a place for each model, in the table's order."""

    kind: str
    paper_metric: str
    """What the paper's figures are: `test acc`, or `val acc` where it has no other."""
    metric: str
    places: tuple[Place, ...]
    paper_order: str
    """Models from the best, `W>R>C`; empty if the paper has fewer than two."""
    order: str


@dataclass(frozen=True)
class FirstTable:
    """The paper's kinds of learning by its models, its figures beside ours."""

    group: str
    """Title of the group of cells."""
    paper_heading: str | None
    """`paper`, `paper (STL-10)` for other data; None where the paper's are not to be shown."""
    models: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Ablation:
    """Lines of cells against a base line: one method's, by setting, or all of someone's own."""

    name: str
    title: str
    question: str
    """What it answers."""
    keys: tuple[str, ...]
    """The settings that differ."""
    columns: tuple[str, ...]
    """Those of `values` that tell lines of a model apart in a table."""
    values: pd.DataFrame
    """A line a row, setting and metric. Columns: `name`, `model`, `ratio`, `from`, the keys (as
    texts), `settings` (those it changes), `is_base`, `metric`, `n`, `mean`, `deviation`,
    `low`, `high`, `interval_of`; against the base line `difference`, `difference_low`,
    `difference_high`, `difference_of` (as `interval_of`), `p`, `p_corrected`, `test`; `collapsed`.
    Accuracies and differences are fractions."""
    sentence: str
    """The largest difference that is one, or that none is, in words."""


@dataclass(frozen=True)
class Picture:
    """An SVG file below the report's folder, its data beside it."""

    name: str
    title: str
    caption: str
    alt: str
    """What is seen in it, in words."""
    path: Path
    size: tuple[float, float]
    """Width and height in inches."""


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
    main: Group | None = None
    """The group that the verdict is on: the paper's settings, else the most finished cells."""
    first_table: FirstTable | None = None
    ablations: list[Ablation] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """Significant differences of the main group beyond the seven claims, in words."""
    fill_command: str | None = None
    """One line to paste that trains all that is missing; None if nothing is, or none can."""
    environment: list[Table] = field(default_factory=list)
    """Data sets, their classes, hardware, code, versions and times."""
    has_paper_cells: bool = True
    """Whether the paper is shown: not beside cells that are all someone's own, unless asked for."""
    generated: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def main_claims(self) -> list[Claim]:
        """The claims on the main group, by number."""
        title = self.main.title if self.main else None
        return [claim for claim in self.claims if claim.group == title]

    @property
    def verdict(self) -> str:
        """The answer in one line: on the paper's claims, or on someone's own experiment."""
        if not self.has_paper_cells:
            return self.ablations[0].sentence
        return overall(self.main_claims)

    @property
    def collapsed(self) -> dict[str, str]:
        """Names of cells that are no better than chance, and what is said of them.

        A title names one cell of the main group; others have their ids, too.
        """
        main = {cell.cell_id for cell in self.main.cells()} if self.main else set()
        return {
            cell.title if cell.cell_id in main else f"{cell.title}, {cell.cell_id}": cell.collapse
            for cell in self.cells
            if cell.collapse
        }

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.outputs / "report"
