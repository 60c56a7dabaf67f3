"""The report's tables: the paper's four in its shape, other methods', ablations and verdicts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslbench import paper
from sslbench.paper import BARLOW, KNN, SEMI, SUPERVISED, TEST, TRAIN, TRAIN_LOSS, VAL, Row
from sslbench.tables import shapes
from sslbench.tables.claims import RULES, Claim
from sslbench.tables.compare import SeedVariance
from sslbench.tables.contents import Ablation, Table
from sslbench.tables.groups import Group, is_ablation, row_order, slug
from sslbench.tables.summaries import summarize

NOTE = (
    "Accuracies in percent. Ours: the mean over seeds with its 95 % interval, over other seeds and "
    "other images; * one seed: over other images alone."
)
LOSS_NOTE = (
    "Ours: the mean over seeds with Student's 95 % interval over other seeds. Losses of different "
    "methods, and of one method on other data, are no measure of which is better."
)
PROBED = (
    " Accuracies are of a linear classifier on the frozen encoder, on images as they are, those of "
    "the train split too. Weights: {}."
)
TRAINED = (
    " Train accuracy is a mean over the last training steps, on augmented images. Weights: {}."
)
SELECTED = {"last": "of the last step", "best": "of the epoch with the best validation accuracy"}
OTHER_NOTE = " The paper's figures are of STL-10 in its own settings: not comparable with ours."
CODE_NOTE = " Its cells were trained by {} versions of the code (`versions.code`)."
COLLAPSED_NOTE = " ! no better than chance: {}."
TESTS_NOTE = (
    "Differences in points, each with an interval of its own; p is corrected over the comparisons "
    "of one group. Over seeds and images where both sides have two seeds, else over the images of "
    "one; the paper's own numbers, and training accuracies, as independent shares of images."
)
ABLATION_NOTE = (
    "Accuracies in percent, differences from the base line in points, with 95 % intervals over "
    "other seeds and other images; * of one seed: over other images alone. p by a t test over "
    "seeds and images, in an ablation paired by seed where all lines have the same seeds; with one "
    "seed by a test over the same images. It is corrected over the lines of one metric."
)
METRICS = (TRAIN, VAL, TEST)
MOST_COLUMNS = 4
"""Models that fit beside each other on a page."""


class Design(NamedTuple):
    """What a table is to show: the paper's rows, then a group's own."""

    name: str
    title: str
    reported: paper.Reported
    own: list[Row]
    metrics: tuple[paper.Metric, ...] = METRICS
    by_model: bool = False
    """Whether models are its columns, and metrics lines, as in the paper's table 4."""


def build_tables(groups: list[Group]) -> list[Table]:
    """Return each group's tables that hold new cells, and all of the paper's in its settings."""
    tables = []
    for group in groups:
        covered: set[Row] = set()
        variance = SeedVariance(group.done(row) for row in group.rows)
        for design in () if is_ablation(group, groups) else _designs(group):
            if group.is_paper or not covered.issuperset(design.own):
                tables += _tables(design, group, variance)
                covered.update(design.own)
    return tables


def _designs(group: Group) -> Iterator[Design]:
    """Yield the paper's tables, and one for each method that the paper does not have."""

    def of(method: str) -> list[Row]:
        return sorted((row for row in group.rows if row.method == method), key=row_order)

    semi = [row for row in of(SEMI) if row.init is None]
    full = [row for row in semi if row.ratio == paper.FULL_RATIO]
    started = [row for row in of(SEMI) if row.init is not None]
    table4 = "Table 4: semi-supervised, labelled : unlabelled"
    yield Design("table1", "Table 1: supervised", paper.TABLE_1, of(SUPERVISED))
    title = "Table 2: self-supervised, linear probe"
    yield Design("table2", title, paper.TABLE_2, of(BARLOW), (*METRICS, KNN))
    yield Design("table3", "Table 3: semi-supervised", paper.TABLE_3, full)
    yield Design("table4", table4, paper.TABLE_4, semi, by_model=True)
    starts = {row._replace(init=BARLOW): {} for row in paper.TABLE_3}
    yield Design("ssl_init", "Semi-supervised from self-supervised weights", starts, started)
    for method in sorted({row.method for row in group.rows} - set(paper.METHODS)):
        has_knn = any("knn" in c.record.results for c in group.cells() if c.method == method)
        metrics = (*METRICS, KNN) if has_knn else METRICS
        yield Design(slug(method), f"By {method}", {}, of(method), metrics)


def _tables(design: Design, group: Group, variance: SeedVariance) -> Iterator[Table]:
    """Yield a table of accuracies, and one of losses."""
    reported = design.reported if group.paper_heading else {}
    chosen = set(group.chosen_rows())
    rows = list(dict.fromkeys([*reported, *design.own, *(chosen & design.reported.keys())]))
    name = design.name if group.is_paper else f"{design.name}-{slug(group.title)}"
    parts = ((design.metrics, name, ""), ((TRAIN_LOSS,), f"{name}-loss", ", training loss"))
    for metrics, stem, suffix in parts:
        lines = [
            summarize(row, group.rows.get(row, {}).values(), metric, variance)
            | {"paper": reported.get(row, {}).get(metric, np.nan)}
            for row in rows
            for metric in metrics
        ]
        for line in lines:
            line["difference"] = line["mean"] - line["paper"] if group.is_paper else np.nan
        is_beside = any(not np.isnan(line["paper"]) for line in lines)
        is_by_model = design.by_model and len({row.model for row in rows}) <= MOST_COLUMNS
        show = shapes.by_model if is_by_model else shapes.by_metric
        note = LOSS_NOTE if suffix else NOTE + _weights_note(group, rows)
        yield Table(
            name=stem,
            title=f"{design.title}{suffix} ({group.title})",
            note=note + _notes(group, rows, is_beside=is_beside),
            frame=show(lines, group.paper_heading),
            values=pd.DataFrame(lines),
        )


def _weights_note(group: Group, rows: list[Row]) -> str:
    """Say what accuracies are of, and which step's weights, as the cells' settings have it."""
    cells = [cell for row in rows for cell in group.done(row).values()]
    selects = sorted({cell.record.settings["method"].get("select") or "best" for cell in cells})
    words = " or ".join(SELECTED.get(select, select) for select in selects)
    is_probe = bool(cells) and all("labeled" not in cell.record.streams for cell in cells)
    return (PROBED if is_probe else TRAINED).format(words) if cells else ""


def _notes(group: Group, rows: list[Row], *, is_beside: bool) -> str:
    num_codes = len({cell.code for row in rows for cell in group.done(row).values()} - {""})
    collapsed = [
        f"{c.title} ({c.collapse})" for row in rows for c in group.done(row).values() if c.collapse
    ]
    parts = [OTHER_NOTE if is_beside and not group.is_paper else ""]
    parts += [COLLAPSED_NOTE.format("; ".join(collapsed)) if collapsed else ""]
    parts += [CODE_NOTE.format(num_codes) if num_codes > 1 else ""]
    return "".join(parts)


def ablation_table(ablation: Ablation) -> Table:
    """Return an ablation with a line for each setting, beside it how far from the base line."""
    frame = shapes.by_setting(ablation)
    return Table(ablation.name, ablation.title, ABLATION_NOTE, frame, ablation.values)


def claim_tables(claims: list[Claim]) -> list[Table]:
    """Return the verdicts, and each comparison with its test, as tables."""
    verdicts = pd.DataFrame(
        {"claim": f"{claim.number}. {claim.text}", "on": claim.group}
        | {"verdict": claim.verdict, "why": claim.sentence}
        for claim in claims
    )
    tested = [claim.tests.assign(on=claim.group) for claim in claims if len(claim.tests)]
    values = pd.concat(tested, ignore_index=True).drop(columns="sign") if tested else pd.DataFrame()
    return [
        Table("claims", "The paper's claims", RULES, verdicts, verdicts),
        Table(
            "claims-tests",
            "The tests behind the verdicts",
            TESTS_NOTE,
            shapes.of_tests(values),
            values,
        ),
    ]
