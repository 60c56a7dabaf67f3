"""The paper's figures of what one cell repeats."""

from sslbench import paper
from sslbench.cell.record import Record
from sslbench.paper import Row

TABLES = {"1": paper.TABLE_1, "2": paper.TABLE_2, "3": paper.TABLE_3, "4": paper.TABLE_4}


def paper_figures(record: Record) -> dict[str, str]:
    """Return what the paper reports of a cell, as texts by name, and the `table` it stands in.

    Nothing of cells on other data, in other settings or from other weights than the paper's.
    """
    settings = record.settings
    is_comparable = record.data.get("name") == paper.DATA and not record.changes
    if not is_comparable or settings["init"]["from"] is not None:
        return {}
    ratio = settings["ratio"]["name"] if "unlabeled" in record.streams else None
    row = Row(settings["method"]["name"], settings["model"]["name"], ratio)
    for number, table in TABLES.items():
        if row in table:
            shown = {metric.title: _shown(metric, value) for metric, value in table[row].items()}
            return {"table": number} | shown
    return {}


def _shown(metric: paper.Metric, value: float) -> str:
    return f"{value:.2f}" if metric == paper.TRAIN_LOSS else f"{100 * value:.2f}%"
