"""What the settings of an ablation change: differences from its base line, with intervals."""

from collections.abc import Collection, Iterator

import pandas as pd
from matplotlib.figure import Figure as Canvas

from sslbench import paper
from sslbench.palette import ALARM, INK, LINES
from sslbench.scatter import add_legend
from sslbench.tables.contents import Ablation, Picture, Report
from sslbench.tables.groups import slug
from sslbench.tables.pictures.album import COLLAPSED, WIDTH
from sslbench.tables.pictures.drawing import save_picture

CAPTION = (
    "Test accuracy less that of the base line, in points, with the 95 % interval of the "
    "difference; to the right, how many seeds. Right of zero is better."
)
MAX_LINES = 60


def draw_ablations(report: Report, formats: Collection[str]) -> Iterator[Picture]:
    """Draw each ablation whose settings have been compared with their base line."""
    for ablation in report.ablations:
        values = ablation.values
        of_test = values[values["metric"] == paper.TEST.title]
        if of_test["difference"].notna().any():
            yield _draw(report, formats, ablation, of_test.iloc[:MAX_LINES])


def _draw(
    report: Report, formats: Collection[str], ablation: Ablation, lines: pd.DataFrame
) -> Picture:
    labels = list(lines["name"])
    models = list(dict.fromkeys(lines["model"]))
    canvas = Canvas((WIDTH, 0.9 + 0.24 * len(lines)))
    ax = canvas.subplots()
    ax.axvline(0, color=INK, lw=0.8)
    for i, line in enumerate(lines.itertuples()):
        color, marker = LINES[models.index(line.model) % len(LINES)]
        n = f"base line, n = {line.n}" if line.is_base else f"n = {line.n}"
        ax.annotate(n, (1.01, i), xycoords=("axes fraction", "data"), va="center")
        if line.is_base or pd.isna(line.difference):
            continue
        bounds = [[line.difference - line.difference_low], [line.difference_high - line.difference]]
        color, marker = (ALARM, COLLAPSED[1][1]) if line.collapsed else (color, marker)
        place = 100 * line.difference
        ax.errorbar(
            place, i, xerr=100 * pd.DataFrame(bounds).to_numpy(), color=color, marker=marker
        )
    ax.set_yticks(range(len(lines)), [short_label(label) for label in labels])
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("points of test accuracy, from the base line")
    styles = [(paper.title(m), LINES[i % len(LINES)]) for i, m in enumerate(models)]
    add_legend(canvas, styles + [COLLAPSED] * bool(lines["collapsed"].astype(bool).any()))
    told = [
        f"{label} {100 * line.difference:+.1f}"
        for label, line in zip(labels, lines.itertuples(), strict=True)
        if not (line.is_base or pd.isna(line.difference))
    ]
    alt = f"Differences from the base line as points with intervals: {', '.join(told)}."
    stem = report.folder / "figures" / slug(ablation.name)
    title = f"{ablation.title}: differences from the base line"
    return save_picture(canvas, stem, (title, CAPTION, alt), lines, formats)


def short_label(label: str) -> str:
    """Cut a label from its middle on, so that both ends are seen."""
    return label if len(label) <= 48 else f"{label[:23]}…{label[-24:]}"
