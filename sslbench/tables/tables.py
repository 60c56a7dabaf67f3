"""The report's tables: the paper's four beside ours, other methods' and those of the verdicts."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from sslbench.tables import paper
from sslbench.tables.ablations import ablation_tables
from sslbench.tables.claims import ClaimResult, format_p
from sslbench.tables.commands import Commands
from sslbench.tables.contents import Table
from sslbench.tables.groups import Group, is_ablation, row_order, slug
from sslbench.tables.summary import display, summarize

NOTE = (
    "Accuracies in percent. Ours: mean ± standard deviation over n seeds, with Student's 95 % "
    "interval of the mean; * one seed, or seeds alike: Wilson's interval over the images. Val and "
    "test: weights chosen on validation images, images as they are; train: as training saw them."
)
PAPER_NOTE = " Difference: ours minus the paper's, in points (loss: as it is)."
OTHER_NOTE = " Not comparable with the paper's numbers."
CLAIMS_NOTE = (
    "Holds: every comparison is significantly positive (5 %, Holm-corrected over all comparisons "
    "of the seven claims). Contradicted: any is significantly negative. Undecided: else. Claim 7 "
    "holds if every improvement's upper 95 % bound is below one point."
)
TESTS_NOTE = (
    "Differences in points. Paired over three or more common seeds, else over the same images of "
    "one or two; the paper's own numbers as independent shares of 6,400 test, 1,600 validation and "
    "5,000 training images. With three seeds the corrected test decides only large differences; "
    "a test over images speaks of the weights at hand, not of other seeds."
)
METRICS = (paper.TRAIN, paper.VAL, paper.TRAIN_LOSS, paper.TEST)


@dataclass(frozen=True)
class Design:
    """One of the paper's tables: which rows, which metrics."""

    name: str
    title: str
    reported: paper.Reported
    """The rows that the paper has; other models and ratios that were run are added."""
    admits: Callable[[paper.Row], bool]
    metrics: tuple[paper.Metric, ...] = METRICS


DESIGNS = (
    Design(
        "table1", "Table 1: supervised", paper.TABLE_1, lambda row: row.method == paper.SUPERVISED
    ),
    Design(
        "table2",
        "Table 2: self-supervised, linear probe",
        paper.TABLE_2,
        lambda row: row.method == paper.BARLOW,
        (*METRICS, paper.KNN),
    ),
    Design(
        "table3",
        "Table 3: semi-supervised",
        paper.TABLE_3,
        lambda row: row.method == paper.SEMI and row.ratio == paper.FULL_RATIO and row.init is None,
    ),
    Design(
        "table4",
        "Table 4: semi-supervised, labelled : unlabelled",
        paper.TABLE_4,
        lambda row: row.method == paper.SEMI and row.init is None,
        (paper.TRAIN, paper.VAL),
    ),
    Design(
        "ssl_init",
        "Semi-supervised from self-supervised weights",
        {row._replace(init=paper.BARLOW): {} for row in paper.TABLE_3},
        lambda row: row.method == paper.SEMI and row.init is not None,
    ),
)


def build_tables(groups: list[Group], outputs: str) -> list[Table]:
    """Return the tables of each group, then the ablations.

    Cells in the paper's settings get all its tables, others those with cells no table before has.
    """
    tables = []
    commands = Commands(groups, outputs)
    for group in groups:
        if is_ablation(group, groups):
            continue
        covered: set[paper.Row] = set()
        for design in (*DESIGNS, *_other_designs(group)):
            rows = _rows_of(design, group)
            if group.is_paper or any(row in group.rows for row in rows if row not in covered):
                tables.append(_design_table(design, rows, group, commands))
                covered.update(rows)
    return tables + ablation_tables(groups, NOTE)


def _other_designs(group: Group) -> list[Design]:
    """Return a table for each method that the paper does not have."""
    return [
        Design(
            slug(method),
            f"By {method}",
            {},
            lambda row, method=method: row.method == method,
            (*METRICS, paper.KNN) if _has_knn(group, method) else METRICS,
        )
        for method in sorted({row.method for row in group.rows} - set(paper.METHODS))
    ]


def _has_knn(group: Group, method: str) -> bool:
    done = [cell for row in group.rows for cell in group.done(row).values()]
    return any(cell.method == method and cell.value(paper.KNN) is not None for cell in done)


def _rows_of(design: Design, group: Group) -> list[paper.Row]:
    rows = list(design.reported)
    others = [row for row in group.rows if design.admits(row) and row not in rows]
    return rows + sorted(others, key=row_order)


def _design_table(design: Design, rows: list[paper.Row], group: Group, commands: Commands) -> Table:
    shown, values = [], []
    for row in rows:
        in_full = group.is_paper or group.done(row)
        for metric in design.metrics if in_full else design.metrics[:1]:
            summary = summarize(group, row, metric, design.reported)
            if not in_full:
                summary["metric"] = ""
            values.append(summary)
            shown.append(display(summary, metric, is_paper=group.is_paper))
    frame = pd.DataFrame(shown)
    constant = [name for name in ("ratio", "from") if frame[name].nunique() <= 1]
    return Table(
        name=design.name if group.is_paper else f"{design.name}-{slug(group.title)}",
        title=f"{design.title} ({group.title})",
        note=NOTE + (PAPER_NOTE if group.is_paper else OTHER_NOTE) + _code_note(group, rows),
        frame=frame.drop(columns=constant),
        values=pd.DataFrame(values),
        commands=[command for row in rows if (command := commands.fill(group, row)) is not None],
    )


def _code_note(group: Group, rows: list[paper.Row]) -> str:
    """Say so where rows hold cells that different code has trained."""
    done = [cell.done_record for row in rows for cell in group.done(row).values()]
    digests = {record.runtime.get("versions", {}).get("code") for record in done} - {None}
    if len(digests) < 2:
        return ""
    return f" Its cells were trained by {len(digests)} versions of the code (`versions.code`)."


def claim_tables(claims: list[ClaimResult]) -> list[Table]:
    """Return the verdicts, and each comparison with its test, as tables."""
    verdicts = pd.DataFrame(
        {
            "claim": f"{claim.number}. {claim.claim}",
            "on": claim.group,
            "verdict": claim.verdict,
            "why": claim.sentence,
        }
        for claim in claims
    )
    tested = [(claim, each) for claim in claims for each in claim.comparisons]
    shown = pd.DataFrame(
        {
            "claim": claim.number,
            "on": claim.group,
            "comparison": each.name,
            "metric": each.metric,
            "difference": f"{100 * each.difference:+.2f}",
            "95 % interval": f"[{100 * each.low:+.2f}, {100 * each.high:+.2f}]",
            "effect size": f"{each.effect_size:+.2f} ({each.effect})",
            "test": each.test,
            "p": format_p(each.p).removeprefix("= "),
            "corrected p": format_p(each.p_corrected).removeprefix("= "),
        }
        for claim, each in tested
    )
    values = pd.DataFrame(
        {"claim": claim.number, "on": claim.group} | vars(each) for claim, each in tested
    )
    return [
        Table("claims", "The paper's claims", CLAIMS_NOTE, verdicts, verdicts),
        Table("claims-tests", "The tests behind the verdicts", TESTS_NOTE, shown, values),
    ]
